package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// dnfFault translates what solve_dnf.py found when it gave up.
type dnfFault struct {
	img          factory.Image
	repos        []yum
	entitlements map[string]factory.Entitlement
}

// dnfWord is one fault as the script tells it.
type dnfWord struct {
	Kind       string `json:"kind"`
	Text       string `json:"text"` // in dnf's, rpm's or the solver's own words
	Platform   string `json:"platform"`
	Repository int    `json:"repository"` // of the platform's; counts when there is a platform
	Package    string `json:"package"`
	Only       bool   `json:"only"` // nothing but a limit hides the package
}

// explain returns every fault of a step that did not exit 0.
func (f dnfFault) explain(res factory.StepResult) error {
	var words []dnfWord
	if err := json.Unmarshal(res.Output["faults.json"], &words); err != nil || len(words) == 0 {
		text := strings.TrimSpace(string(res.Stderr))
		lines := strings.Split(text[max(0, len(text)-600):], "\n")
		return fmt.Errorf("lock %s: the solver ended with %d: %s", f.img.Name, res.Exit, f.nameless(lines[len(lines)-1]))
	}
	var errs []error
	for _, w := range words {
		errs = append(errs, f.problem(w))
	}
	if errs = distinct(errs); len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func (f dnfFault) problem(w dnfWord) error {
	at := "dnf"
	y, known := f.locate(w)
	if known {
		at = "archive " + y.String()
	}
	switch w.Kind {
	case "metadata":
		return f.metadata(w, at, y)
	case "download":
		return f.lost(w, at, y)
	case "signature":
		return f.unsigned(w, at)
	case "changed":
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: package %s is not the one that its metadata names", at, w.Package), Hint: inTheMiddle}
	case "renamed":
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: its metadata call a package %s, and by its signed header it is %s", at, w.Package, w.Text),
			Hint: "somebody changed the metadata, which are not signed; ask the archive for metadata that are"}
	case "outside":
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: package %s lies outside the archive", at, w.Package), Hint: "set archives: " + y.ID + " in factory.yaml to a root that has all of it below"}
	case "weak":
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: its checksums are weaker than sha256 (%s)", at, w.Text), Hint: "the factory locks only what a strong checksum identifies"}
	case "key":
		return &factory.Problem{Kind: factory.ErrUnverified, Where: f.img.Where, What: fmt.Sprintf("%s: rpm does not accept the key in %s", f.img.Name, f.keyFile(w.Package)), Cause: errors.New(f.nameless(w.Text)), Hint: "it may be too old for the toolbox's rpm: pin the one that the distribution signs with now"}
	case "unknown":
		return unknownPackage(f.img, f.repos, w.Package)
	case "hidden":
		return f.hidden(w)
	case "module":
		return &factory.Problem{Kind: factory.ErrUnavailable, Where: f.img.Where, What: fmt.Sprintf("%s enables the module stream %s, which its archives do not have", f.img.Name, w.Package), Cause: errors.New(f.nameless(w.Text)), Hint: "look at modules in its definition"}
	case "disk":
		return &factory.Problem{Kind: factory.ErrUnavailable, What: f.img.Name + ": there is no space left where dnf works", Hint: "the packages of one image must fit there, and the metadata of its repositories"}
	case "solve":
		return &factory.Problem{Kind: factory.ErrInvalid, Where: f.img.Where, What: f.img.Name + ": its packages cannot be installed together", Cause: errors.New(unsolved(w.Text)),
			Hint: "look at include, exclude and modules in its definition, and at only of its archives"}
	}
	return &factory.Problem{Kind: factory.ErrUnavailable, What: f.img.Name + ": dnf could not read the archives", Cause: errors.New(f.nameless(w.Text))}
}

// keyFile is the definition's name of a key that the script knows by its number.
func (f dnfFault) keyFile(name string) string {
	for i, k := range f.img.Keys {
		if name == keyName(i) {
			return k.File
		}
	}
	return name
}

func keyName(i int) string { return fmt.Sprintf("%02d.asc", i) }

const inTheMiddle = "a mirror in the middle of an update does this: try again in a few minutes"

// locate says which repository a fault is about.
func (f dnfFault) locate(w dnfWord) (yum, bool) {
	first := slices.IndexFunc(f.repos, func(y yum) bool { return y.platform.Architecture == w.Platform })
	if i := first + w.Repository; w.Platform != "" && first >= 0 && w.Repository >= 0 && i < len(f.repos) {
		return f.repos[i], true
	}
	return yum{}, false
}

// The first that fits counts.
var dnfMeanings = []meaning{
	{regexp.MustCompile(`GPG signature is not available`), factory.ErrUnverified, "it is not signed", "unsignedMetadata: true in the definition accepts that; its packages must be signed all the same"},
	{regexp.MustCompile(`[Bb]ad GPG signature|signature verification error|GPG`), factory.ErrUnverified, "its signature does not hold", "it must be signed by a key that the definition names under keys"},
	{regexp.MustCompile(`checksum doesn't match|[Cc]hecksum error|Inconsistent server data|Maximum file size exceeded`), factory.ErrUnverified, "the file is not the one that its metadata names", inTheMiddle},
	{regexp.MustCompile(`Status code: (401|403)\b|Curl error \((35|56|58|59)\).*(certificate|alert)|certificate required`), factory.ErrUnavailable, "the archive does not let us in", "it asks for a client certificate that is valid: look at entitlements in factory.yaml"},
	{regexp.MustCompile(`Status code: (404|410)\b`), factory.ErrUnavailable, "it is not there", "the archive has moved on, or its URL in factory.yaml is wrong"},
	{regexp.MustCompile(`Curl error \((51|60|77|83|91)\)`), factory.ErrUnverified, "the archive's own certificate does not hold", "the authorities of its certificate are not known here (ca in entitlements, or this machine's certificate store)"},
	{regexp.MustCompile(`Curl error|Status code|mirrors were|[Tt]imeout|Cannot download`), factory.ErrUnavailable, "the archive does not answer", ""},
	{regexp.MustCompile(`pars|XML|xml|primary`), factory.ErrUnavailable, "it cannot be read", inTheMiddle},
}

func means(text string) (meaning, bool) {
	i := slices.IndexFunc(dnfMeanings, func(m meaning) bool { return m.phrase.MatchString(text) })
	if i < 0 {
		return meaning{}, false
	}
	return dnfMeanings[i], true
}

var metadataFile = regexp.MustCompile(`repodata/[A-Za-z0-9._-]+`)

func (f dnfFault) metadata(w dnfWord, at string, y yum) error {
	m, ok := means(w.Text)
	if !ok {
		m = meaning{kind: factory.ErrUnavailable, what: "dnf could not read it"}
	}
	file := strings.TrimSuffix(metadataFile.FindString(w.Text), ".asc")
	if file == "" {
		file = repomdFile
	}
	if file == repomdFile {
		file = "repomd.xml"
	}
	return &factory.Problem{Kind: m.kind, What: fmt.Sprintf("%s: %s: %s", at, file, m.what), Hint: f.hint(m, y), Cause: errors.New(f.reason(w.Text))}
}

// hint is a meaning's, or that the certificate is missing altogether.
func (f dnfFault) hint(m meaning, y yum) string {
	if strings.Contains(m.hint, "client certificate") && f.entitlements[y.ID] == (factory.Entitlement{}) {
		return "it asks for a client certificate: set entitlements: " + y.ID + " in factory.yaml"
	}
	return m.hint
}

// lost explains why a package that was to be locked did not come.
func (f dnfFault) lost(w dnfWord, at string, y yum) error {
	m, ok := means(w.Text)
	if !ok {
		m = meaning{kind: factory.ErrUnavailable, what: "it cannot be fetched"}
	}
	hint := f.hint(m, y)
	if hint == "" || strings.HasPrefix(m.what, "it is not there") {
		hint = "the archive moved on while it was read: try again in a few minutes"
	}
	what := at + ": " + m.what
	if w.Package != "" {
		what = fmt.Sprintf("%s: package %s: %s", at, w.Package, m.what)
	}
	return &factory.Problem{Kind: m.kind, What: what, Hint: hint, Cause: errors.New(f.reason(w.Text))}
}

var signedBy = regexp.MustCompile(`(?i)key id ([0-9a-f]{8,40}): (NOKEY|NOTTRUSTED|BAD)`)

// unsigned explains what rpm said of a package.
func (f dnfFault) unsigned(w dnfWord, at string) error {
	p := &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: package %s is not signed", at, w.Package), Hint: "nothing unsigned is ever locked: use an archive that signs its packages, or exclude this one"}
	switch m := signedBy.FindStringSubmatch(w.Text); {
	case m != nil && strings.EqualFold(m[2], "NOKEY"):
		p.What = fmt.Sprintf("%s: package %s is signed by key %s, which the definition does not pin", at, w.Package, strings.ToLower(m[1]))
		p.Hint = "when the distribution has a new key, check its fingerprint and add it under keys"
	case m != nil:
		p.What = fmt.Sprintf("%s: package %s: its signature by key %s does not hold", at, w.Package, strings.ToLower(m[1]))
		p.Hint = inTheMiddle
	case strings.Contains(w.Text, ": BAD"):
		p.What = fmt.Sprintf("%s: package %s is damaged: its own checksums do not hold", at, w.Package)
		p.Hint = "tell whoever runs the archive"
	}
	p.Cause = errors.New(strings.Join(strings.Fields(strings.ReplaceAll(w.Text, "\n", "; ")), " "))
	return p
}

// hidden explains why a package that is there cannot be had.
func (f dnfFault) hidden(w dnfWord) error {
	p := &factory.Problem{Kind: factory.ErrInvalid, Where: f.img.Where, What: fmt.Sprintf("%s asks for package %s, which is only in a module that it does not enable", f.img.Name, w.Package), Hint: "name the module and its stream under modules, as in nodejs:20"}
	switch {
	case slices.Contains(f.img.Packages.Exclude, w.Package):
		p.What, p.Hint = fmt.Sprintf("%s asks for package %s and excludes it", f.img.Name, w.Package), "look at include and exclude in its definition"
	case w.Only:
		p.What, p.Hint = fmt.Sprintf("%s asks for package %s, which is only in archives that may not offer it", f.img.Name, w.Package), "look at only of its archives"
	}
	return p
}

func unknownPackage(img factory.Image, repos []yum, name string) error {
	var searched []string
	for _, y := range repos {
		if !slices.Contains(searched, y.String()) {
			searched = append(searched, y.String())
		}
	}
	return &factory.Problem{
		Kind: factory.ErrUnavailable, Where: img.Where, What: fmt.Sprintf("%s asks for package %s, which is in none of its archives: %s", img.Name, name, strings.Join(searched, ", ")),
		Hint: "dnf repoquery --whatprovides " + name + " shows what there is; what a package provides is not enough",
	}
}

var (
	anyURL   = regexp.MustCompile(`[a-z]+://[^\s'"\]]+`)
	whatFor  = regexp.MustCompile(` for ([a-z]+://\S+|the URL)?.*`)
	repoName = regexp.MustCompile(`^Failed to download metadata for repo '[^']*': `)
)

// reason is the first thing that dnf said, or the part of the last that says why, without hosts.
func (f dnfFault) reason(text string) string {
	for line := range strings.Lines(text) {
		if said, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			return f.nameless(whatFor.ReplaceAllString(said, ""))
		}
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return f.nameless(whatFor.ReplaceAllString(repoName.ReplaceAllString(lines[len(lines)-1], ""), ""))
}

// nameless replaces every URL by the path below its archive, and the archives' hosts, and shortens.
func (f dnfFault) nameless(text string) string {
	for _, y := range f.repos {
		text = strings.ReplaceAll(text, y.root+"/", "")
	}
	text = anyURL.ReplaceAllString(text, "(an address)")
	for _, y := range f.repos {
		if u, err := url.Parse(y.root); err == nil && u.Hostname() != "" {
			text = regexp.MustCompile(`(?i)(^|[^\w.-])`+regexp.QuoteMeta(u.Hostname())+`($|[^\w-])`).ReplaceAllString(text, "${1}(its host)${2}")
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), 300)]
}

// unsolved is why the solver found nothing, at most five reasons.
func unsolved(text string) string {
	var why []string
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(strings.Join(strings.Fields(line), " "), "- ")
		if line != "" && !strings.HasSuffix(line, ":") && len(why) < 5 {
			why = append(why, line)
		}
	}
	return strings.Join(why, "; ")
}
