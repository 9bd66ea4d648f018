package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// sourcesLimit is how many bytes of one of apt's source files are read.
const sourcesLimit = 1 << 20

// HostArchives reads from this machine's apt, yum and dnf configuration where it gets its packages, as archive id → URL. Of apt an
// archive's id is the last element of its path: debian, debian-security. Of yum and dnf it is known by what lies below it:
// redhat-ubi, amazonlinux. The first URL that would be used counts; entries that are switched off, that hold only sources, or that
// are not plain http or https are skipped. fsys is the machine's root.
//
// ErrNotFound when there is none of these ids: the factory knows no archive by itself.
func HostArchives(fsys fs.FS) (map[string]string, error) {
	found := map[string]string{}
	if err := aptArchives(fsys, found); err != nil {
		return nil, err
	}
	if err := yumArchives(fsys, found); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &factory.Problem{Kind: factory.ErrNotFound, What: "apt on this machine names no Debian archive, and dnf none that the factory knows", Hint: "set archives: in factory.yaml"}
	}
	return found, nil
}

func aptArchives(fsys fs.FS, found map[string]string) error {
	names, err := fs.Glob(fsys, "etc/apt/sources.list.d/*")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range append([]string{"etc/apt/sources.list"}, names...) {
		var parse func([]byte) []string
		switch path.Ext(name) {
		case ".list":
			parse = oneLine
		case ".sources":
			parse = deb822
		default:
			continue
		}
		b, err := readLimited(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, uri := range parse(b) {
			id, ok := archiveID(uri)
			if _, known := found[id]; ok && !known {
				found[id] = strings.TrimRight(uri, "/")
			}
		}
	}
	return nil
}

func readLimited(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, sourcesLimit))
}

func archiveID(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	id := path.Base(strings.TrimRight(u.Path, "/"))
	if id != "debian" && id != "debian-security" {
		return "", false
	}
	_, err = archiveURL(id, uri)
	return id, err == nil
}

// oneLine reads the old format: deb [options] URI suite component...
func oneLine(b []byte) (uris []string) {
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, sourcesLimit+1)
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			if _, rest, ok = strings.Cut(rest, "]"); !ok {
				continue
			}
		}
		if fields := strings.Fields(rest); len(fields) >= 2 {
			uris = append(uris, fields[0])
		}
	}
	return uris
}

// deb822 reads the new format: stanzas of fields, whose values may go on in indented lines.
func deb822(b []byte) (uris []string) {
	fields := map[string]string{}
	last := ""
	flush := func() {
		enabled := strings.ToLower(strings.TrimSpace(fields["enabled"]))
		off := slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, enabled)
		if !off && slices.Contains(strings.Fields(fields["types"]), "deb") {
			uris = append(uris, strings.Fields(fields["uris"])...)
		}
		clear(fields)
		last = ""
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, sourcesLimit+1)
	for sc.Scan() {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += " " + line
		default:
			key, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(key))
			fields[last] = value
		}
	}
	flush()
	return uris
}
