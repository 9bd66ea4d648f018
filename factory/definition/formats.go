package definition

import (
	"regexp"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// What an image is asked for depends on how its family packs packages. Everything that does is here.

const (
	keysDir = folder + "/keys"
	maxKey  = 64 << 10 // bytes of one key
)

var (
	debName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	// rpmFolder is the only form of omitPaths that rpm can keep to, here and in child images.
	rpmFolder = regexp.MustCompile(`^(/[^/*?\[]+)+/\*$`)
)

func formatOf(f imageFile) factory.Format {
	return factory.Distro{Family: f.Distro.Family.Value}.Format()
}

// checkFormat finds what the image's package format does not know.
func (l *loader) checkFormat(f imageFile) {
	switch formatOf(f) {
	case factory.Deb:
		l.checkDeb(f)
	case factory.RPM:
		l.checkRPM(f)
	}
}

// foreign refuses keys that belong to the other format.
func (l *loader) foreign(f imageFile, there ...text) {
	for _, t := range there {
		if t.At.Line > 0 {
			l.problems.add(t.At, "remove it", "%s: an image of %s has none", t.Value, f.Distro.Family.Value)
		}
	}
}

func (l *loader) checkDeb(f imageFile) {
	named := func(key string, t text) text { return text{Value: key, At: t.At} }
	l.foreign(f, named("distro.releasever", f.Distro.Releasever))
	for _, k := range f.Keys {
		l.foreign(f, named("keys", text{At: k.Where}))
	}
	for _, m := range f.Packages.Modules {
		l.foreign(f, named("packages.modules", m))
	}
	for _, a := range f.Archives {
		l.foreign(f, named("archives.path", a.Path), named("archives.mirrorList", a.MirrorList))
		if a.UnsignedMetadata {
			l.problems.add(a.Where, "remove it", "archives.unsignedMetadata: apt takes no suite that is not signed")
		}
		l.debNames(a.Only)
	}
	l.debNames(slices.Concat(f.Packages.Include, f.Packages.Exclude))
}

func (l *loader) debNames(names []text) {
	for _, n := range names {
		if n.Value != "" && !debName.MatchString(n.Value) {
			l.problems.add(n.At, "", "expected the name of a Debian package, in lower case, like libpam-modules, found %.80q", n.Value)
		}
	}
}

// checkNames looks at the names that stand in an image's other files: a misspelt one would be absent every night.
func (l *loader) checkNames(img factory.Image) {
	if img.Distro.Format() != factory.Deb {
		return
	}
	at := func(file string, names []string) {
		for _, n := range names {
			if !debName.MatchString(n) {
				l.problems.add(factory.Position{File: l.in(img.Name, file)}, "", "expected the name of a Debian package, in lower case, like libpam-modules, found %.80q", n)
			}
		}
	}
	at(testsFileName, slices.Concat(img.Tests.Packages.Present, img.Tests.Packages.Absent))
	for _, w := range img.Waivers {
		at(waiversFileName, w.Packages)
	}
}

func (l *loader) checkRPM(f imageFile) {
	named := func(key string, t text) text { return text{Value: key, At: t.At} }
	l.foreign(f, named("keyring", f.Keyring), named("distro.codename", f.Distro.Codename))
	if f.Packages.Essential {
		l.problems.add(f.Packages.Where, "include what is needed", "packages.essential: RPM repositories mark nothing as essential")
	}
	for _, p := range f.Packages.KeepPaths {
		l.foreign(f, named("packages.keepPaths", p))
	}
	for _, p := range f.Packages.OmitPaths {
		if p.Value != "" && !rpmFolder.MatchString(p.Value) {
			l.problems.add(p.At, "like /usr/share/man/*", "packages.omitPaths: expected a whole folder, found %.120q", p.Value)
		}
	}
	for _, a := range f.Archives {
		if len(a.Components) > 0 {
			l.problems.add(a.Components[0].At, "remove it", "archives.components: an RPM repository has none")
		}
		if a.AllowExpired {
			l.problems.add(a.Where, "remove it", "archives.allowExpired: an RPM repository says nothing of when it expires")
		}
		if a.Path.Value != "" && a.MirrorList.Value != "" {
			l.problems.add(a.Where, "keep one of them", "archives: %s has a path and a mirror list", a.Suite.Value)
		}
	}
}

// checkComplete finds what an image of its format needs and does not have.
func (l *loader) checkComplete(f imageFile) {
	format := formatOf(f)
	if format == factory.Deb && f.Keyring.Value == "" {
		l.problems.add(f.Where, "add keyring: File below /usr/share/keyrings of the toolbox, like debian-archive-keyring.gpg", "key \"keyring\" is missing")
	}
	if format == factory.RPM && len(f.Keys) == 0 {
		l.problems.add(f.Where, "add keys: with a file in "+keysDir+" and its fingerprint", "key \"keys\" is missing")
	}
	for _, a := range f.Archives {
		switch {
		case format == factory.Deb && len(a.Components) == 0:
			l.problems.add(a.Where, "add components: [main]", "key \"components\" is missing in archives")
		case format == factory.RPM && a.Path.Value == "" && a.MirrorList.Value == "":
			l.problems.add(a.Where, "add path: the repository's folder below the archive's URL, or mirrorList:", "key \"path\" is missing in archives")
		}
	}
}

// keys reads the texts of the keys that an image pins.
func (l *loader) keys(files []keyFile) (all []factory.Key) {
	seen := map[string]text{}
	for _, k := range files {
		if first, twice := seen[k.Fingerprint.Value]; twice {
			l.problems.add(k.Fingerprint.At, "keep one of them", "keys: %s is there twice, first in line %d", k.Fingerprint.Value, first.At.Line)
			continue
		}
		seen[k.Fingerprint.Value] = k.Fingerprint
		b, err := l.tree.read(keysDir+"/"+k.File.Value, maxKey)
		key := factory.Key{File: k.File.Value, Fingerprint: k.Fingerprint.Value, Armored: string(b)}
		switch {
		case err != nil:
			l.problems.add(k.File.At, "put the armored public key there", "keys: %s/%s cannot be read: %v", keysDir, k.File.Value, bare(err))
		case !key.OneBlock():
			l.problems.add(k.File.At, "gpg --armor --export FINGERPRINT makes one", "keys: %s/%s is not exactly one armored public key", keysDir, k.File.Value)
		default:
			all = append(all, key)
		}
	}
	return all
}
