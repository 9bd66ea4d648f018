package upstream

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$`)
	suiteName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*$`)
	fileName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	archName    = regexp.MustCompile(`^[a-z0-9]+$`)
)

// aptConf is everything apt is told but its paths. This machine's own configuration is never read.
const aptConf = `APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
APT::Solver "internal";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowReleaseInfoChange "false";
Acquire::Check-Valid-Until "true";
Acquire::Check-Date "true";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
`

// source is one archive of a definition with where it is.
type source struct {
	factory.Archive
	url string // no trailing slash
}

func (s source) String() string { return s.ID + " " + s.Suite }

// release returns the URL of the suite's signed Release file.
func (s source) release() string { return s.url + "/dists/" + s.Suite + "/InRelease" }

// entry is the name of the file that tells apt of the i-th source.
func (s source) entry(i int, essential bool) string {
	if essential && len(s.Only) == 0 {
		return fmt.Sprintf("%03d-essential.sources", i)
	}
	return fmt.Sprintf("%03d.sources", i)
}

// stanza tells apt of the source.
func (s source) stanza(keyring string) string {
	text := fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n", s.url, s.Suite, strings.Join(s.Components, " "), keyring)
	if s.AllowExpired {
		text += "Check-Valid-Until: no\n"
	}
	return text
}

// sources joins a definition's archives with their URLs. It checks everything that ends up in a file for apt.
func sources(img factory.Image, urls map[string]string) ([]source, error) {
	var all []source
	bad := func(format string, args ...any) ([]source, error) {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: img.Name + ": " + fmt.Sprintf(format, args...), Where: img.Where}
	}
	if !fileName.MatchString(img.Keyring) {
		return bad("%.80q is not the name of a keyring", img.Keyring)
	}
	for _, name := range slices.Concat(img.Packages.Include, img.Packages.Exclude) {
		if !packageName.MatchString(name) {
			return bad("%.80q is not the name of a package", name)
		}
	}
	for _, p := range img.Platforms {
		if !archName.MatchString(p.Architecture) {
			return bad("%.40q is not a platform of this distribution", p)
		}
	}
	for _, a := range img.Archives {
		switch {
		case !suiteName.MatchString(a.Suite) || strings.Contains(a.Suite, ".."):
			return bad("%.80q is not the name of a suite", a.Suite)
		case len(a.Components) == 0 || slices.ContainsFunc(a.Components, func(c string) bool { return !suiteName.MatchString(c) }):
			return bad("archive %s %s: %.120q are not components", a.ID, a.Suite, a.Components)
		case slices.ContainsFunc(a.Only, func(n string) bool { return !packageName.MatchString(n) }):
			return bad("archive %s %s: %.120q are not names of packages", a.ID, a.Suite, a.Only)
		case a.AllowExpired && len(a.Only) == 0:
			return bad("archive %s %s: an expired suite may offer named packages only", a.ID, a.Suite)
		case slices.ContainsFunc(all, func(b source) bool { return b.Suite == a.Suite && (b.ID == a.ID || len(a.Only)+len(b.Only) > 0) }):
			return bad("suite %s is there twice", a.Suite)
		}
		base, err := archiveURL(a.ID, urls[a.ID])
		if err != nil {
			return nil, err
		}
		all = append(all, source{Archive: a, url: base})
	}
	if len(all) == 0 || len(img.Platforms) == 0 {
		return bad("no archives or no platforms to lock")
	}
	return all, nil
}

func archiveURL(id, raw string) (string, error) {
	hint := "set archives: " + id + " in factory.yaml"
	if raw == "" {
		return "", &factory.Problem{Kind: factory.ErrInvalid, What: "nothing says where archive " + id + " is", Hint: hint}
	}
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\;{}[]`, r) }) {
		return "", &factory.Problem{Kind: factory.ErrInvalid, What: "the URL of archive " + id + " cannot be used", Hint: hint + ": http or https, no credentials, no query"}
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// inputs renders what solve.sh reads of requests that share their archives, all of it checked by sources before.
func inputs(reqs []Request, s apt) (map[string]factory.File, error) {
	files := map[string]factory.File{}
	put := func(name, text string) { files[path.Join(inDir, name)] = factory.File{Data: []byte(text)} }
	put("solve.sh", solveScript)
	put("plan.py", planScript)
	put("apt.conf", aptConf)
	for i, req := range reqs {
		img := req.Image
		srcs, err := sources(img, s.Archives)
		if err != nil {
			return nil, err
		}
		dir := path.Join("images", imageDir(i))
		put(path.Join(dir, "preferences"), preferences(img, srcs))
		put(path.Join(dir, "want"), lines(img.Packages.Include, aptItself(img.Packages)))
		put(path.Join(dir, "never"), lines(img.Packages.Exclude))
		if i > 0 {
			continue
		}
		var arches []string
		for _, p := range img.Platforms {
			arches = append(arches, p.Architecture)
		}
		put("arches", strings.Join(arches, "\n")+"\n")
		for i, src := range srcs {
			put("sources/"+src.entry(i, img.Packages.Essential), src.stanza(s.keyring(img)))
		}
	}
	return files, nil
}

// imageDir is where a step has what is only the i-th image's.
func imageDir(i int) string { return fmt.Sprintf("%03d", i) }

// aptItself adds apt to what the archive calls required, as the distribution's own minimal systems do.
func aptItself(p factory.Packages) []string {
	if p.Essential && !slices.Contains(p.Exclude, "apt") {
		return []string{"apt"}
	}
	return nil
}

// preferences are apt's pins: never what is excluded, and of a limited suite only what is named.
func preferences(img factory.Image, srcs []source) string {
	var b strings.Builder
	if len(img.Packages.Exclude) > 0 {
		fmt.Fprintf(&b, "Package: %s\nPin: release *\nPin-Priority: -1\n\n", strings.Join(img.Packages.Exclude, " "))
	}
	for _, s := range srcs {
		for _, key := range []string{"a", "n"} { // a suite may be meant by its name or by its codename
			if len(s.Only) > 0 {
				fmt.Fprintf(&b, "Package: %s\nPin: release %s=%s\nPin-Priority: 990\n\n", strings.Join(s.Only, " "), key, s.Suite)
				fmt.Fprintf(&b, "Package: *\nPin: release %s=%s\nPin-Priority: -1\n\n", key, s.Suite)
			}
		}
	}
	return b.String()
}

func lines(lists ...[]string) string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}
