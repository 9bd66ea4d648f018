package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// offer is one package that apt chose, and the source that offers it.
type offer struct {
	factory.Package
	source int
}

var poolPath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._~:=-]*(/[A-Za-z0-9+._~:=-]+)*$`)

// parsePlan joins what apt would fetch (uris) with the archives' stanzas of the same files. Every line must find its stanza.
func parsePlan(uris, stanzas []byte, srcs []source) ([]offer, error) {
	known := map[string]offer{}
	for text := range strings.SplitSeq(string(stanzas), "\n\n") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		o, err := parseStanza(text, len(srcs))
		if err != nil {
			return nil, err
		}
		key := srcs[o.source].url + "/" + o.Path
		o.Archive = srcs[o.source].ID
		if first, ok := known[key]; !ok || o.source < first.source {
			known[key] = o
		}
	}
	var all []offer
	sc := bufio.NewScanner(bytes.NewReader(uris))
	for sc.Scan() {
		quoted, rest, ok := strings.Cut(strings.TrimPrefix(sc.Text(), "'"), "' ")
		fields := strings.Fields(rest)
		uri, err := url.PathUnescape(quoted)
		if !ok || err != nil || len(fields) < 2 {
			return nil, fmt.Errorf("apt's plan: %.120q", sc.Text())
		}
		o, ok := known[uri]
		if !ok || strconv.FormatInt(o.Size, 10) != fields[1] {
			return nil, fmt.Errorf("apt's plan: no archive lists %s", fields[0])
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b offer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch)) })
	for i := 1; i < len(all); i++ {
		if all[i].Name == all[i-1].Name && all[i].Arch == all[i-1].Arch {
			return nil, fmt.Errorf("apt's plan: %s is there twice", all[i].Name)
		}
	}
	return all, sc.Err()
}

// parseStanza reads the fields that solve.sh kept of a package's stanza.
func parseStanza(text string, sources int) (o offer, err error) {
	f := map[string]string{}
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok || f[key] != "" {
			return offer{}, fmt.Errorf("stanza: %.120q", line)
		}
		f[key] = strings.TrimSpace(value)
	}
	o.Name, o.Version, o.Arch, o.Path = f["Package"], f["Version"], f["Architecture"], f["Filename"]
	if o.source, err = strconv.Atoi(f["Entry"][:min(3, len(f["Entry"]))]); err != nil || o.source < 0 || o.source >= sources {
		return offer{}, fmt.Errorf("stanza of %.60q: which source is %.60q", o.Name, f["Entry"])
	}
	if o.Size, err = strconv.ParseInt(f["Size"], 10, 64); err != nil || o.Size <= 0 {
		return offer{}, fmt.Errorf("stanza of %.60q: size %.40q", o.Name, f["Size"])
	}
	if o.SHA256, err = factory.ParseDigest("sha256:" + f["SHA256"]); err != nil {
		return offer{}, fmt.Errorf("stanza of %.60q: %w", o.Name, err)
	}
	if !packageName.MatchString(o.Name) || !archName.MatchString(o.Arch) || !versionText.MatchString(o.Version) ||
		!poolPath.MatchString(o.Path) || strings.Contains(o.Path, "..") {
		return offer{}, fmt.Errorf("stanza of %.60q: version %.60q, architecture %.40q, file %.120q", o.Name, o.Version, o.Arch, o.Path)
	}
	return o, setSource(&o.Package, f["Source"])
}

// setSource reads "name" or "name (version)"; both parts are left out when they equal the binary's own.
func setSource(p *factory.Package, text string) error {
	name, version, _ := strings.Cut(text, " ")
	version = strings.Trim(version, "()")
	if name != "" && !packageName.MatchString(name) || version != "" && !versionText.MatchString(version) {
		return fmt.Errorf("stanza of %.60q: source %.120q", p.Name, text)
	}
	if name != p.Name {
		p.Source = name
	}
	if version != p.Version {
		p.SourceVersion = version
	}
	return nil
}
