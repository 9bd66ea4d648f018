package standin

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed catalogue.yaml
var catalogueText []byte

//go:embed all:files
var files embed.FS

// spec is a package of the catalogue.
type spec struct {
	Name       string
	EVR        map[Release]string
	Fixed      map[Release]string // what SecurityUpdate publishes
	Change     string             // what publishes it, when it is not there from the start: obsolete, module
	NoArch     bool               `yaml:"noarch"`
	Source     string             // source package; empty = Name
	Repository string             // empty = the first
	Module     string             // name:stream:version:context

	Requires, Provides, Obsoletes, Conflicts, Recommends []string

	Sonames  []string          // libraries without code
	Applets  []string          // links to busybox in /usr/bin
	Programs []string          // scripts that say that they are stand-ins
	Busybox  bool              // holds busybox itself
	Links    map[string]string // path → target
	Dirs     map[string]string // path → mode [owner:group]
	Modes    map[string]string // file → mode [owner:group]
	Caps     map[string]string // file → capabilities: cap_setuid=ep

	Pre, Post string // scriptlets for /bin/sh
}

// catalogue is read once and never changed.
var catalogue = sync.OnceValues(func() (all []spec, err error) {
	return all, yaml.UnmarshalWithOptions(catalogueText, &all, yaml.Strict())
})

// edition is a package of one release and machine, with all variables replaced.
type edition struct {
	spec
	epoch            string
	version, release string
	arch             string
	source           string // file name of the source package
	variant          int    // different content under the same name
	texts            map[string]string
}

// evr is [epoch:]version-release.
func (e edition) evr() string {
	if e.epoch == "" {
		return e.version + "-" + e.release
	}
	return e.epoch + ":" + e.version + "-" + e.release
}

// file is the name of the package's file.
func (e edition) file() string {
	return fmt.Sprintf("%s-%s-%s.%s.rpm", e.Name, e.version, e.release, e.arch)
}

// certificates are as many as a real bundle has, and none of them is one.
var certificates = strings.Repeat("-----BEGIN CERTIFICATE-----\nc3RhbmQtaW4=\n-----END CERTIFICATE-----\n", 140)

// variables are what the catalogue's texts leave open.
type variables struct{ version, key string }

// editionOf makes a catalogue entry concrete.
func editionOf(s spec, r Release, machine, evr string, v variables) (edition, error) {
	evr = strings.ReplaceAll(evr, "VERSION", v.version)
	e := edition{spec: s, arch: machine, texts: map[string]string{}}
	rest := evr
	if epoch, after, ok := strings.Cut(evr, ":"); ok {
		e.epoch, rest = epoch, after
	}
	e.version, e.release, _ = strings.Cut(rest, "-")
	if s.NoArch {
		e.arch = "noarch"
	}
	e.source = fmt.Sprintf("%s-%s-%s.src.rpm", cmp.Or(s.Source, s.Name), e.version, e.release)
	known, err := catalogue()
	if err != nil {
		return edition{}, err
	}
	absent := func(relation string) bool {
		name, _, _ := strings.Cut(relation, " ")
		of := slices.DeleteFunc(slices.Clone(known), func(o spec) bool { return o.Name != name })
		return len(of) > 0 && !slices.ContainsFunc(of, func(o spec) bool { return o.EVR[r] != "" })
	}
	expand := strings.NewReplacer("SELF", evr, "VERSION", v.version).Replace
	for _, list := range []*[]string{&e.Requires, &e.Provides, &e.Obsoletes, &e.Conflicts, &e.Recommends} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i] = expand((*list)[i])
		}
	}
	e.Requires = slices.DeleteFunc(e.Requires, absent)
	for _, set := range []string{"common", string(r)} {
		if err := e.read(path.Join("files", set, s.Name), strings.NewReplacer("@VERSION@", v.version, "@KEY@", v.key, "@RPM@", rest, "@CERTIFICATES@", certificates)); err != nil {
			return edition{}, err
		}
	}
	return e, nil
}

// read takes the package's files from a folder; later ones win.
func (e *edition) read(dir string, expand *strings.Replacer) error {
	if _, err := fs.Stat(files, dir); err != nil {
		return nil // most packages have none
	}
	return fs.WalkDir(files, dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(p)
		e.texts[strings.TrimPrefix(p, dir)] = expand.Replace(string(b))
		return err
	})
}

// plain is a package of which only the name is known.
func plain(name string, r Release) spec {
	return spec{Name: name, EVR: map[Release]string{r: "1.0-1." + looks[r].dist}, Requires: []string{"filesystem"}}
}

// pick returns the catalogue's entries of a release for which want holds, and plain ones for the names that nobody has.
func pick(r Release, names []string, want func(spec) bool) ([]spec, error) {
	all, err := catalogue()
	if err != nil {
		return nil, err
	}
	var found []spec
	known := map[string]bool{}
	for _, s := range all {
		if s.EVR[r] == "" {
			continue
		}
		known[s.Name] = true
		if want(s) {
			found = append(found, s)
		}
	}
	missing := map[string]bool{}
	for _, n := range names {
		if !known[n] {
			missing[n] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(missing)) {
		found = append(found, plain(n, r))
	}
	return found, nil
}
