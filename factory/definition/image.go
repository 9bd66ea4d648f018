package definition

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// The files of an image's folder.
const (
	imageFileName   = "image.yaml"
	testsFileName   = "tests.yaml"
	waiversFileName = "waivers.yaml"
	lockFileName    = "lock.json"
)

// read reads one image's folder, after that of its parent; trail are the images that are being read because they are built on
// it. What is wrong goes to l.problems; the image is then of no use.
func (l *loader) read(name string, trail []string) *read {
	if r := l.images[name]; r != nil {
		return r
	}
	before := len(l.problems)
	own := l.parse(l.in(name, imageFileName))
	wrong := slices.Clone(l.problems[before:])
	parent, whole := l.parent(name, own, trail)
	before = len(l.problems)
	r := l.image(name, own, parent, whole)
	r.wrong = append(wrong, l.problems[before:]...)
	r.ok = whole && len(r.wrong) == 0 && r.image.Owner.Team != ""
	if from := own.get("from"); !whole && len(r.wrong) == 0 && from != nil && l.images[from.text] != nil && !l.images[from.text].ok {
		r.behind = from.text
	}
	l.images[name] = r
	return r
}

// image makes an image of its own document and of what it continues.
func (l *loader) image(name string, own *node, parent *read, whole bool) *read {
	r := &read{image: factory.Image{Name: name, Owner: l.owner(name), Inputs: []string{folder + "/" + name}}}
	img := &r.image
	l.checkFolder(name, own)
	if own == nil {
		return r
	}
	img.Where = own.at
	n, used, all := l.continued(own, "image", imageType)
	whole = whole && all
	img.Inputs = append(img.Inputs, used...)
	if parent != nil {
		img.Said = said(n.get("config"))
		n = merge(inherited(parent.file, n), n, imageType, "")
		img.Inputs = append(img.Inputs, parent.image.Inputs...)
		r.depth = parent.depth + 1
	}
	r.file = n
	r.part = len(n.get("only").list()) > 0 || parent != nil && parent.part
	var f imageFile
	before := len(l.problems)
	l.decode(n, &f, !whole)
	switch {
	case len(l.problems) > before:
		img.Kind = factory.Kind(f.Kind.Value)
	case !whole:
		img.Kind = factory.Kind(f.Kind.Value)
		l.checkParts(f)
	default:
		l.checkParts(f)
		l.checkImage(f)
		l.checkFitting(f, parent)
		fill(img, f)
		img.Files = l.added(name, f)
		img.Keys = l.keys(f.Keys)
		for _, k := range img.Keys {
			img.Inputs = append(img.Inputs, keysDir+"/"+k.File)
		}
		img.Inputs = append(img.Inputs, l.checkHardening(f)...)
	}
	img.Tests, used = l.tests(r, parent)
	img.Inputs = append(img.Inputs, used...)
	img.Waivers = l.waivers(name)
	if parent != nil {
		img.Waivers = append(img.Waivers, handed(parent.image, img.Waivers)...)
	}
	l.checkNames(*img)
	slices.Sort(img.Inputs)
	img.Inputs = slices.Compact(img.Inputs)
	return r
}

func (l *loader) in(name, file string) string { return path.Join(folder, name, file) }

// checkFolder refuses what an image's folder does not hold: a misspelt tests.yaml would test nothing.
func (l *loader) checkFolder(name string, own *node) {
	valid := []string{imageFileName, testsFileName, waiversFileName, lockFileName, "README.md"}
	if file := own.get("dockerfile"); file != nil {
		valid = append(valid, file.text)
	}
	adds := own == nil || own.get("files") != nil || own.get("dockerfile") != nil
	inside := l.ahead[name]()
	l.problems.join(inside.err)
	for _, e := range inside.entries {
		file := l.in(name, e.Name())
		if adds && e.Name() == addedDir {
			continue // read with what it is for
		}
		if !slices.Contains(valid, e.Name()) {
			l.problems.add(factory.Position{File: file}, nearest(e.Name(), valid), "unknown file, expected one of %s", strings.Join(valid, ", "))
		} else if !e.Type().IsRegular() {
			_, err := l.tree.stat(file) // tells what it must not be
			l.problems.join(err)
		}
	}
}

// fill copies what was checked. The texts' rules make every conversion here safe.
func fill(img *factory.Image, f imageFile) {
	img.Kind = factory.Kind(f.Kind.Value)
	img.Summary = f.Summary.Value
	img.From, img.Only, img.Dockerfile = f.From.Value, sorted(f.Only), f.Dockerfile.Value
	img.Distro = factory.Distro{Family: f.Distro.Family.Value, Release: f.Distro.Release.Value, Codename: f.Distro.Codename.Value, Releasever: f.Distro.Releasever.Value}
	img.EndOfLife = day(f.EndOfLife)
	for _, a := range f.Archives {
		img.Archives = append(img.Archives, factory.Archive{
			ID: a.ID.Value, Suite: a.Suite.Value, Components: plain(a.Components), Path: a.Path.Value, MirrorList: a.MirrorList.Value,
			UnsignedMetadata: a.UnsignedMetadata, Only: sorted(a.Only), AllowExpired: a.AllowExpired,
		})
	}
	img.Keyring = f.Keyring.Value
	img.Packages = factory.Packages{
		Essential: f.Packages.Essential,
		Include:   sorted(f.Packages.Include), Exclude: sorted(f.Packages.Exclude), Modules: sorted(f.Packages.Modules),
		OmitPaths: sorted(f.Packages.OmitPaths), KeepPaths: sorted(f.Packages.KeepPaths),
	}
	for _, p := range sorted(f.Platforms) {
		platform, _ := factory.ParsePlatform(p)
		img.Platforms = append(img.Platforms, platform)
	}
	for _, u := range f.Users {
		img.Users = append(img.Users, factory.User{Name: u.Name.Value, UID: u.UID.Value, GID: u.GID.Value, Home: u.Home.Value, Shell: u.Shell.Value})
	}
	slices.SortFunc(img.Users, func(a, b factory.User) int { return cmp.Compare(a.UID, b.UID) })
	img.Hardening = hardening(f.Hardening)
	img.Config = config(f.Config)
}

func hardening(f hardeningFile) factory.Hardening {
	h := factory.Hardening{Profile: f.Profile.Value, Level: f.Level.Value, Scope: f.Scope.Value}
	for _, e := range f.Exempt {
		h.Exempt = append(h.Exempt, factory.Exemption{Control: e.Control.Value, Reason: e.Reason.Value, Until: day(e.Until), Where: e.Where})
	}
	for _, v := range f.Vars {
		if h.Vars == nil {
			h.Vars = map[string]any{}
		}
		h.Vars[v.Key.Value] = v.Value.Value
	}
	return h
}

func config(f configFile) factory.Config {
	c := factory.Config{
		User: f.User.Value, Workdir: f.Workdir.Value, StopSignal: f.StopSignal.Value,
		Entrypoint: plain(f.Entrypoint), Cmd: plain(f.Cmd),
	}
	for _, e := range f.Env {
		c.Env = append(c.Env, e.Key.Value+"="+e.Value.Value)
	}
	slices.Sort(c.Env)
	for _, label := range f.Labels {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[label.Key.Value] = label.Value.Value
	}
	return c
}

// waivers reads waivers.yaml; an image without that file has none.
func (l *loader) waivers(name string) (all []factory.Waiver) {
	if l.lacks(name, waiversFileName) {
		return nil
	}
	n := l.parse(l.in(name, waiversFileName))
	if n == nil {
		return nil
	}
	var f waiversFile
	l.decode(n, &f, false)
	if f.Image.Value != "" && f.Image.Value != name {
		l.problems.add(f.Image.At, "what is accepted for one image is not for another: write image: "+name+" when each waiver below is meant for it", "image: expected %s, the folder's name, found %.80q", name, f.Image.Value)
	}
	for _, w := range f.Waivers {
		if w.Justification.Value != "" && isRule(w.ID.Value) {
			l.problems.add(w.Justification.At, "remove it", "waivers.justification: %s is a rule, and only a vulnerability has one", w.ID.Value)
		}
		all = append(all, factory.Waiver{
			ID: w.ID.Value, Packages: sorted(w.Packages), Reason: w.Reason.Value, By: w.By.Value, Until: day(w.Until),
			Justification: w.Justification.Value, Where: w.Where,
		})
	}
	return all
}

func day(t text) factory.Date {
	d, _ := factory.ParseDate(t.Value)
	return d
}

func sorted(texts []text) []string { return slices.Sorted(slices.Values(plain(texts))) }
