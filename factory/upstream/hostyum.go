package upstream

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// knownBelow are the archives that are known by what lies below their URL.
var knownBelow = []struct {
	id    string
	paths *regexp.Regexp
}{
	{"redhat-ubi", regexp.MustCompile(`^(.*?)/content/public/ubi/dist/`)},
	{"amazonlinux", regexp.MustCompile(`^(.*?)/al2023/core/(?:mirrors|guids)/`)},
	{"amazonlinux", regexp.MustCompile(`^(.*?)/(?:2|\$releasever)/(?:core|\$product)/(?:latest|2\.0|\$target)/[^/]+/(?:mirror\.list$|[0-9a-f]{32,})`)},
}

// yumArchives adds the archives that yum's and dnf's own files name.
func yumArchives(fsys fs.FS, found map[string]string) error {
	names, err := fs.Glob(fsys, "etc/yum.repos.d/*.repo")
	if err != nil {
		return err
	}
	slices.Sort(names)
	vars := yumVars(fsys)
	for _, name := range names {
		b, err := readLimited(fsys, name)
		if err != nil {
			return err
		}
		for _, uri := range repoFile(b) {
			uri = vars.Replace(uri)
			for _, k := range knownBelow {
				m := k.paths.FindStringSubmatch(uri)
				if m == nil || found[k.id] != "" || strings.Contains(m[1], "$") {
					continue
				}
				if root, err := archiveURL(k.id, m[1]); err == nil {
					found[k.id] = root
				}
			}
		}
	}
	return nil
}

// yumVars replaces the variables that the machine defines. Those that depend on a release or a machine stay as they are.
func yumVars(fsys fs.FS) *strings.Replacer {
	var names, pairs []string
	for _, dir := range []string{"etc/dnf/vars", "etc/yum/vars"} {
		found, _ := fs.Glob(fsys, dir+"/*") // the pattern is a good one
		names = append(names, found...)
	}
	// $awsregion before $aws; of two with one name dnf's.
	slices.SortStableFunc(names, func(a, b string) int { return len(path.Base(b)) - len(path.Base(a)) })
	for _, name := range names {
		b, err := readLimited(fsys, name)
		if err != nil {
			continue // what it stands for stays a variable, and no URL
		}
		value, _, _ := strings.Cut(string(b), "\n")
		pairs = append(pairs, "$"+path.Base(name), strings.TrimSpace(value), "${"+path.Base(name)+"}", strings.TrimSpace(value))
	}
	return strings.NewReplacer(pairs...)
}

// repoFile returns the URLs of the sections that are switched on.
func repoFile(b []byte) (uris []string) {
	var section []string
	off, last := false, ""
	flush := func() {
		if !off {
			uris = append(uris, section...)
		}
		section, off, last = nil, false, ""
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, sourcesLimit+1)
	for sc.Scan() {
		line := sc.Text()
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		value := text
		switch {
		case text[0] == '[':
			flush()
			continue
		case line[0] != ' ' && line[0] != '\t':
			last, value, _ = strings.Cut(text, "=")
			last = strings.ToLower(strings.TrimSpace(last))
		}
		switch last {
		case "enabled":
			off = slices.Contains([]string{"0", "no", "false", "off"}, strings.ToLower(strings.TrimSpace(value)))
		case "baseurl", "mirrorlist", "metalink":
			section = append(section, strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })...)
		}
	}
	flush()
	return uris
}
