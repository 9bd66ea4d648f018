package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	infoDir    = "var/lib/dpkg/info/"
	diversions = "var/lib/dpkg/diversions"
	statusFile = "var/lib/dpkg/status"
)

// debUpdated is the mark of a version made after the release: 1.2-3+deb12u1, 1.2-3~deb13u2.
var debUpdated = regexp.MustCompile(`[+~]deb[0-9]+u([0-9]+)`)

// dpkgPackages reads dpkg's own records out of the root. It returns nil when there are none.
func dpkgPackages(t *tree, s *spool, locked lockedPackages) (*packages, error) {
	var lists []string
	for p, n := range t.nodes {
		if strings.HasPrefix(p, infoDir) && strings.HasSuffix(p, ".list") && n.kind == tar.TypeReg {
			lists = append(lists, p)
		}
	}
	if len(lists) == 0 {
		return nil, nil
	}
	slices.Sort(lists)
	moved, err := readDiversions(t, s)
	if err != nil {
		return nil, err
	}
	db := &packages{owners: map[string][]*installed{}}
	for _, list := range lists {
		full := strings.TrimSuffix(path.Base(list), ".list")
		name, _, _ := strings.Cut(full, ":")
		pkg := &installed{name: name, source: locked.source(full), sums: map[string]sum{}, date: time.Unix(0, 0).UTC()}
		if err := db.add(t, s, strings.TrimSuffix(list, ".list"), pkg, moved); err != nil {
			return nil, err
		}
	}
	return db, nil
}

// add reads one package's files and their sums.
func (db *packages) add(t *tree, s *spool, base string, pkg *installed, moved map[string]diversion) error {
	where := func(p string) string {
		p = path.Clean("/" + p)
		if d, ok := moved[p]; ok && d.by != pkg.name {
			p = d.to
		}
		return t.resolve(p)
	}
	err := eachLine(t, s, base+".list", func(line string) {
		p := where(line)
		if t.nodes[p] != nil && !slices.Contains(db.owners[p], pkg) {
			db.owners[p] = append(db.owners[p], pkg)
		}
	})
	if err != nil {
		return err
	}
	return eachLine(t, s, base+".md5sums", func(line string) {
		text, p, ok := strings.Cut(line, "  ")
		b, err := hex.DecodeString(text)
		if ok && err == nil && len(b) == md5.Size {
			pkg.sums[where(p)] = sumOf(b)
		}
	})
}

// debUpdates says how often a package was updated since the release; 0 means it is as shipped. Kernels and the like carry
// no mark in their version, so an archive that offers nothing but updates tells too.
func debUpdates(p factory.Package, archives []factory.Archive) int {
	if m := debUpdated.FindAllStringSubmatch(p.Version, -1); m != nil {
		n, err := strconv.Atoi(m[len(m)-1][1])
		if err != nil {
			return maxUpdate
		}
		return min(max(n, 1), maxUpdate)
	}
	from := slices.DeleteFunc(slices.Clone(archives), func(a factory.Archive) bool { return a.ID != p.Archive })
	if len(from) > 0 && !slices.ContainsFunc(from, func(a factory.Archive) bool {
		return !strings.HasSuffix(a.Suite, "-security") && !strings.HasSuffix(a.Suite, "-updates")
	}) {
		return 1
	}
	return 0
}

// diversion is a file of one package that gave way to another package's.
type diversion struct{ to, by string }

// readDiversions reads dpkg's list of files that lie elsewhere than their package says: lines of from, to, by whom.
func readDiversions(t *tree, s *spool) (map[string]diversion, error) {
	var lines []string
	if err := eachLine(t, s, diversions, func(l string) { lines = append(lines, l) }); err != nil {
		return nil, err
	}
	moved := map[string]diversion{}
	for triple := range slices.Chunk(lines, 3) {
		if len(triple) == 3 {
			moved[path.Clean("/"+triple[0])] = diversion{path.Clean("/" + triple[1]), triple[2]}
		}
	}
	return moved, nil
}

// eachLine calls f with every line that is not empty. A file that is not there has none.
func eachLine(t *tree, s *spool, p string, f func(string)) error {
	b, err := content(t, s, p)
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if sc.Text() != "" {
			f(sc.Text())
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// dpkgStatus reads what dpkg says is installed.
func dpkgStatus(t *tree, s *spool, _ *packages) (map[string]state, error) {
	status, err := content(t, s, statusFile)
	return parseStatus(status), err
}

// parseStatus reads dpkg's status file into name:architecture → state. An entry that says nothing of its state is unknown
// in that, which is not gone.
func parseStatus(status []byte) map[string]state {
	found := map[string]state{}
	for stanza := range strings.SplitSeq(string(status), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(stanza) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && line[0] != ' ' && line[0] != '\t' {
				fields[strings.ToLower(key)] = strings.TrimSpace(value)
			}
		}
		if name := fields["package"]; name != "" {
			words := append(strings.Fields(fields["status"]), "", "", "")
			found[name+":"+fields["architecture"]] = state{fields["version"], cmp.Or(words[2], "in an unknown state")}
		}
	}
	return found
}
