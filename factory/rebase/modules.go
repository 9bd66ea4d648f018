package rebase

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// language is an interpreter whose modules are made for one minor version of it.
type language struct {
	name    string
	program *regexp.Regexp // its programs' paths; the group is the version
	module  *regexp.Regexp // its modules' paths; the group is the version, empty where they are of any
	native  *regexp.Regexp // modules that say the version in their file's name, major and minor; nil = none do
}

var languages = []language{
	{"python", regexp.MustCompile(`(?:^|/)bin/python(\d+\.\d+)$`), regexp.MustCompile(`(?:^|/)lib(?:64)?/python(?:(\d+\.\d+)|3)/(?:site|dist)-packages/`), regexp.MustCompile(`\.cpython-(\d)(\d+)-[^/]*\.so$`)},
	{"perl", regexp.MustCompile(`(?:^|/)bin/perl(\d+\.\d+)(?:\.\d+)?$`), regexp.MustCompile(`(?:^|/)(?:lib|share)(?:64)?/(?:[^/]+/)?perl5?/(?:(\d+\.\d+)(?:\.\d+)?/|[^/])`), nil},
}

// versions are those of a language's programs.
func (l language) versions(v view) map[string]bool {
	all := map[string]bool{}
	for p, f := range v {
		if m := l.program.FindStringSubmatch(p); m != nil && (f.Kind == factory.PlainFile || f.Kind == factory.SymLink) {
			all[m[1]] = true
		}
	}
	return all
}

// belongs says of a file which version of the language it is a module for; empty = whichever there is.
func (l language) belongs(p string) (version string, is bool) {
	m := l.module.FindStringSubmatch(p)
	if m == nil {
		return "", false
	}
	if l.native != nil {
		if n := l.native.FindStringSubmatch(path.Base(p)); n != nil {
			return n[1] + "." + n[2], true
		}
	}
	return m[1], true
}

// modules wants the minor version of Python and Perl that the image's own modules were installed for. It returns what is wrong, and how
// many modules there are.
func (j *judge) modules() (wrong []string, n int) {
	for _, l := range languages {
		had, has := l.versions(j.before), l.versions(j.after)
		var gone []string
		for _, v := range slices.Sorted(maps.Keys(had)) {
			if !has[v] {
				gone = append(gone, v)
			}
		}
		told := map[string]bool{}
		for _, p := range j.own.sorted() {
			version, is := l.belongs(p)
			if f := j.own[p]; !is || f.Kind == factory.Whiteout || f.Kind == factory.Directory {
				continue
			}
			n++
			if len(gone) == 0 || version != "" && !slices.Contains(gone, version) {
				continue
			}
			if version == "" {
				version = gone[0]
			}
			if !told[version] { // one is enough: there may be thousands
				told[version] = true
				wrong = append(wrong, fmt.Sprintf("/%s was installed for %s%s, which is in the old base and not in the new one", p, l.name, version))
			}
		}
	}
	return wrong, n
}
