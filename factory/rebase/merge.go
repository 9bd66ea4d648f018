package rebase

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	statusFile = "var/lib/dpkg/status"
	loaderFile = "etc/ld.so.cache"
)

// record is a piece of a text that is merged as one: a paragraph, or a line.
type record struct{ key, text string }

// three merges the old base's text, the new one's and the image's own: what one side alone changed counts. It returns the name of the
// first record that both changed, each in its way.
type three func(was, is, own []byte) (merged []byte, clash string)

// merges are the files that can be merged, by path. All of them are lists in which the order has no meaning.
var merges = map[string]three{
	statusFile:                        paragraphs("Package", "Architecture"),
	"var/lib/dpkg/available":          paragraphs("Package", "Architecture"),
	"var/cache/debconf/config.dat":    paragraphs("Name"),
	"var/cache/debconf/passwords.dat": paragraphs("Name"),
	"var/cache/debconf/templates.dat": paragraphs("Name"),
	"var/lib/dpkg/triggers/File":      lines(whole, nil),
	"etc/shells":                      lines(whole, nil),
	"etc/passwd":                      lines(first, nil),
	"etc/group":                       lines(first, nil),
	"etc/gshadow":                     lines(first, nil),
	"etc/subuid":                      lines(first, nil),
	"etc/subgid":                      lines(first, nil),
	"etc/shadow":                      lines(first, withoutDay),
}

// how returns how a path is merged; nil when it is not.
func how(p string) three { return merges[p] }

// Keep names the files whose content decides: those that are merged, and the loader's cache.
func Keep(p string) bool { return merges[p] != nil || p == loaderFile }

// databases are where package managers keep what is installed.
var databases = []string{"var/lib/dpkg/", "var/lib/rpm/", "usr/lib/sysimage/rpm/", "var/lib/dnf/"}

func isDatabase(p string) bool {
	return slices.ContainsFunc(databases, func(d string) bool { return strings.HasPrefix(p, d) && path.Clean(p) != path.Clean(d) })
}

// alike reports whether two versions of a path differ in nothing that anybody reads: the day of the last password change, which is that of
// the base's lock, and the program that wrote the loader's cache.
func alike(p string, a, b factory.LayerFile) bool {
	if p != loaderFile || !sameMeta(a, b) || a.Data == nil || b.Data == nil {
		return false
	}
	x, okX := loaderEntries(a.Data)
	y, okY := loaderEntries(b.Data)
	return okX && okY && slices.Equal(x, y)
}

func whole(line string) string { return line }

func first(line string) string {
	name, _, _ := strings.Cut(line, ":")
	return name
}

// withoutDay leaves the day of the last change out of a line of shadow.
func withoutDay(line string) string {
	fields := strings.Split(line, ":")
	if len(fields) > 2 {
		fields[2] = ""
	}
	return strings.Join(fields, ":")
}

// lines merges a file line by line.
func lines(key, without func(string) string) three {
	return func(was, is, own []byte) ([]byte, string) {
		split := func(b []byte) (all []record) {
			for l := range strings.Lines(string(b)) {
				l = strings.TrimSuffix(l, "\n")
				all = append(all, record{key(l), l})
			}
			return all
		}
		merged, clash := mergeRecords(split(was), split(is), split(own), without)
		var out bytes.Buffer
		for _, r := range merged {
			out.WriteString(r.text + "\n")
		}
		return out.Bytes(), clash
	}
}

// paragraphs merges a file of paragraphs, each named by some of its fields.
func paragraphs(fields ...string) three {
	return func(was, is, own []byte) ([]byte, string) {
		merged, clash := mergeRecords(splitParagraphs(was, fields), splitParagraphs(is, fields), splitParagraphs(own, fields), nil)
		var out bytes.Buffer
		for _, r := range merged {
			out.WriteString(r.text + "\n\n")
		}
		return out.Bytes(), clash
	}
}

func splitParagraphs(b []byte, fields []string) (all []record) {
	for text := range strings.SplitSeq(string(b), "\n\n") {
		if text = strings.Trim(text, "\n"); strings.TrimSpace(text) == "" {
			continue
		}
		var key []string
		have := parseFields(text)
		for _, f := range fields {
			key = append(key, have[strings.ToLower(f)])
		}
		all = append(all, record{strings.Join(key, ":"), text})
	}
	return all
}

// parseFields reads "Name: value" lines with their continuations, by lower-case name.
func parseFields(paragraph string) map[string]string {
	fields, last := map[string]string{}, ""
	for line := range strings.Lines(paragraph) {
		line = strings.TrimRight(line, "\n\r")
		if line == "" {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		last = strings.ToLower(strings.TrimSpace(name))
		fields[last] = strings.TrimSpace(value)
	}
	return fields
}

// mergeRecords takes the new base's records in their order, then what the image added in its own. Names that come twice in one text
// are a clash: nobody could tell which is meant.
func mergeRecords(was, is, own []record, without func(string) string) (merged []record, clash string) {
	if without == nil {
		without = whole
	}
	index := func(all []record) map[string]string {
		m := map[string]string{}
		for _, r := range all {
			if _, twice := m[r.key]; twice && clash == "" {
				clash = name(r.key) + " (twice)"
			}
			m[r.key] = r.text
		}
		return m
	}
	before, after, mine := index(was), index(is), index(own)
	same := func(a, b map[string]string, key string) bool {
		x, inA := a[key]
		y, inB := b[key]
		return inA == inB && without(x) == without(y)
	}
	pick := func(key string) (string, bool) {
		from := mine
		switch {
		case same(mine, before, key):
			from = after
		case same(after, before, key) || same(after, mine, key):
		case clash == "":
			clash = name(key)
		}
		text, ok := from[key]
		return text, ok
	}
	for _, r := range is {
		if text, ok := pick(r.key); ok {
			merged = append(merged, record{r.key, text})
		}
	}
	for _, r := range own {
		if _, done := after[r.key]; done {
			continue
		}
		if text, ok := pick(r.key); ok {
			merged = append(merged, record{r.key, text})
		}
	}
	return merged, clash
}

func name(key string) string {
	if key = strings.TrimSuffix(key, ":"); key == "" {
		return "an entry without a name"
	}
	return key
}
