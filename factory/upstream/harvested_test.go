package upstream

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// upload is an entry of a test changelog.
func upload(name, version, suite, date, text string) string {
	return fmt.Sprintf("%s (%s) %s; urgency=medium\n\n  * %s\n\n -- T <t@example.invalid>  %s 10:00:00 +0000\n\n", name, version, suite, text, date)
}

// harvested is a release of a distribution with updates of security, the image that is made of it and its solver.
type harvested struct {
	*archive
	t    *testing.T
	img  factory.Image
	s    Solver
	said []factory.Event
	pkgs map[string]pkg
}

func newHarvested(t *testing.T) *harvested {
	n := &harvested{archive: newArchive(t), t: t, img: small("aa", "bb", "lib-aa"), pkgs: map[string]pkg{}}
	n.img.Distro = bookworm
	n.img.Archives = []factory.Archive{
		{ID: "debian", Suite: "stable", Components: []string{"main"}}, {ID: "debian", Suite: "stable-security", Components: []string{"main"}},
		{ID: "debian", Suite: "unstable", Components: []string{"main"}, Only: []string{"guide"}, AllowExpired: true},
	}
	n.s = n.solver()
	n.s.Events = func(e factory.Event) { n.said = append(n.said, e) }
	n.offer("aa", "1.0-1+deb12u2", upload("aa", "1.0-1+deb12u2", "bookworm-security", "02 Jul 2020", "CVE-2020-0002: overflow")+
		upload("aa", "1.0-1+deb12u1", "bookworm", "01 Jul 2020", "CVE-2020-0001")+upload("aa", "1.0-1", "unstable", "01 May 2020", "CVE-2019-0001"))
	n.offer("bb", "2", upload("bb", "2", "unstable", "01 May 2020", "CVE-2019-0002"))
	n.pkgs["lib-aa"] = pkg{name: "lib-aa", version: "1.0-1+deb12u2", source: "aa", doc: "aa"}
	n.publishAll(day)
	return n
}

func (n *harvested) offer(name, version, log string) {
	n.pkgs[name] = pkg{name: name, version: version, changelog: gz(n.t, log)}
}

func (n *harvested) publishAll(date time.Time) {
	var all []pkg
	for _, p := range n.pkgs {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b pkg) int { return strings.Compare(a.name, b.name) })
	n.publish(suite{name: "stable", pkgs: all})
	n.publish(suite{name: "stable-security", date: date})
	n.publish(suite{name: "unstable", date: date.AddDate(0, 0, 3), validUntil: date.AddDate(0, 0, 4)})
}

func (n *harvested) lose(name string) {
	if err := os.RemoveAll(filepath.Join(n.dir, name)); err != nil {
		n.t.Error(err)
	}
}

// locked is the image with its newest lock. It forgets what was said and asked.
func (n *harvested) locked() LockedImage {
	n.t.Helper()
	lock, _ := solve(n.t, n.s, Request{Image: n.img})
	n.said, n.hits = nil, nil
	return LockedImage{n.img, lock}
}

func (n *harvested) fetched() (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hits {
		if strings.HasSuffix(h, ".deb") {
			names = append(names, filepath.Base(h))
		}
	}
	slices.Sort(names)
	return names
}

func (n *harvested) warnings() (all []string) {
	for _, e := range n.said {
		if e.Kind == factory.Warned {
			all = append(all, e.Message)
		}
	}
	return all
}

func (n *harvested) read(of ...LockedImage) factory.Advisories {
	n.t.Helper()
	all, err := n.s.Advisories(n.t.Context(), of)
	if err != nil || len(all) != 1 {
		n.t.Fatal(all, err)
	}
	return all[0]
}

func facts(a factory.Advisories) string {
	var all []string
	for _, f := range a.List {
		all = append(all, f.Source+" "+f.Vulnerability+" "+f.Fixed)
	}
	return strings.Join(all, ", ")
}

const bothFacts = "aa CVE-2020-0001 1.0-1+deb12u1, aa CVE-2020-0002 1.0-1+deb12u2"
