package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

func TestBuild(t *testing.T) {
	second := factory.Advisories{Distro: factory.Distro{Family: "debian", Release: "13"}, Updated: day.AddDate(0, 0, 2), List: []factory.Advisory{
		{Source: "glibc", Vulnerability: "CVE-2026-0001", Fixed: "2.41-2", Title: "another title"},
	}}
	// The same fact twice, as two images of a release read it; the older mention counts.
	again := advisories()
	again.List = []factory.Advisory{{Source: "zlib", Vulnerability: "CVE-2026-0003", Fixed: "1:1.4", Date: day.AddDate(0, 0, 1)}}
	// A release in which nothing was fixed yet, and another part of it.
	nothing := factory.Advisories{Distro: factory.Distro{Family: "debian", Release: "14"}, Updated: day.AddDate(0, 0, 1), Known: []string{"glibc"}}
	more := nothing
	more.Known = []string{"bash", "glibc"}
	c := converse(t)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	var texts [2][]byte
	for i, lists := range [][]factory.Advisories{{advisories(), second, again, nothing, more}, {more, nothing, again, second, advisories()}} {
		got := c.must(scanner.Request{Op: scanner.Build, Dir: dirs[i], Advisories: lists}).Database
		if got.Kind != factory.ArchiveDatabase || got.Advisories != 5 || !got.Updated.Equal(day) || got.Schema != 2 {
			t.Errorf("built %+v", got)
		}
		checked := c.must(scanner.Request{Op: scanner.Check, Dir: dirs[i]}).Database
		if *checked != *got {
			t.Errorf("checked %+v, built %+v", checked, got)
		}
		for _, name := range []string{"trivy.db", "metadata.json"} {
			b, err := os.ReadFile(filepath.Join(dirs[i], name))
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = append(texts[i], b...)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("the same advisories give different databases")
	}
	c.must(scanner.Request{Op: scanner.Open, Dir: dirs[0]})
	if left, err := os.ReadDir(dirs[0]); err != nil || len(left) != 2 {
		t.Errorf("the folder has %v, %v", left, err)
	}
	advisory := func(release, source string) []dbtypes.Advisory {
		got, err := db.Config{}.GetAdvisories("debian "+release, source)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	if got := advisory("12", "zlib"); len(got) != 1 || got[0].FixedVersion != "1:1.3" || !fixDate(got[0].Custom).Equal(day) {
		t.Errorf("got %+v", got)
	}
	if got := advisory("13", "glibc"); len(got) != 1 || !fixDate(got[0].Custom).IsZero() {
		t.Errorf("got %+v", got)
	}
	//lint:ignore SA1019 nothing may be said of it, in the old form either
	if v, err := (db.Config{}).GetVulnerability("CVE-2026-0001"); err != nil || v.Title != "libc: heap overflow" || v.Severity != "" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestBuildRefusals(t *testing.T) {
	c := converse(t)
	refused := func(about, dir string, change func(*factory.Advisories)) {
		t.Helper()
		a := advisories()
		change(&a)
		c.refused(scanner.Request{Op: scanner.Build, Dir: dir, Advisories: []factory.Advisories{a}}, "invalid", about)
	}
	refused("plan9", t.TempDir(), func(a *factory.Advisories) { a.Distro.Family = "plan9" })
	refused("alma", t.TempDir(), func(a *factory.Advisories) { a.Distro.Family = "alma" })
	refused("no release of Red Hat", t.TempDir(), func(a *factory.Advisories) { a.Distro = factory.Distro{Family: factory.RedHat, Release: "nine"} })
	refused("debian", t.TempDir(), func(a *factory.Advisories) { a.Distro.Release = "" })
	c.refused(scanner.Request{Op: scanner.Build, Dir: t.TempDir()}, "invalid", "no advisories")
	refused("when they were read", t.TempDir(), func(a *factory.Advisories) { a.Updated = time.Time{} })
	for _, change := range []func(*factory.Advisory){
		func(a *factory.Advisory) { a.Source = "" }, func(a *factory.Advisory) { a.Vulnerability = "" }, func(a *factory.Advisory) { a.Fixed = "" },
		func(a *factory.Advisory) { a.Vulnerability = strings.Repeat("x", 2000) },
	} {
		refused("incomplete", t.TempDir(), func(a *factory.Advisories) { change(&a.List[0]) })
	}
	refused("empty folder", makeDatabase(t), func(*factory.Advisories) {})
	refused("empty folder", filepath.Join(t.TempDir(), "none"), func(*factory.Advisories) {})
	if err := diskProblem(&fs.PathError{Op: "write", Path: "x", Err: errors.New("no space")}); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// spoil changes a file of a database.
func spoil(t *testing.T, dir, name string, f func([]byte) []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// manyAdvisories fill more than half of the file that bbolt makes for them.
func manyAdvisories() factory.Advisories {
	a := advisories()
	for i := range 2000 {
		a.List = append(a.List, factory.Advisory{Source: fmt.Sprintf("source-%d", i%300), Vulnerability: fmt.Sprintf("CVE-2026-1%04d", i), Fixed: "1", Date: day})
	}
	return a
}

// cutShort takes the last used byte away.
func cutShort(t *testing.T, dir string) string {
	t.Helper()
	b, err := bolt.Open(db.Path(dir), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.View(func(tx *bolt.Tx) error { return os.Truncate(db.Path(dir), tx.Size()-1) }); err != nil {
		t.Fatal(err)
	}
	return dir
}

func constantly(s string) func([]byte) []byte { return func([]byte) []byte { return []byte(s) } }

func without(t *testing.T, name string) string {
	t.Helper()
	dir := makeDatabase(t)
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBadDatabases(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	bare := t.TempDir()
	b, err := bolt.Open(db.Path(bare), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := os.WriteFile(filepath.Join(bare, "metadata.json"), []byte(`{"Version":2,"UpdatedAt":"2026-11-20T12:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct{ name, dir, kind, about string }{
		{"nothing", t.TempDir(), "not found", update},
		{"no database", without(t, "trivy.db"), "not found", update},
		{"no metadata", without(t, "metadata.json"), "not found", update},
		{"metadata are garbage", spoil(t, makeDatabase(t), "metadata.json", constantly("{")), "unverified", update},
		{"another schema", spoil(t, makeDatabase(t), "metadata.json", constantly(`{"Version":3}`)), "invalid", "schema 3, and this scanner reads 2"},
		{"without a date", spoil(t, makeDatabase(t), "metadata.json", constantly(`{"Version":2}`)), "unverified", "how old"},
		{"empty", spoil(t, makeDatabase(t), "trivy.db", constantly("")), "unverified", update},
		{"garbage", spoil(t, makeDatabase(t), "trivy.db", constantly(strings.Repeat("garbage ", 10_000))), "unverified", update},
		{"cut short by a little", cutShort(t, makeDatabase(t, manyAdvisories())), "unverified", "damaged"},
		{"cut to its first page", spoil(t, makeDatabase(t), "trivy.db", func(b []byte) []byte { return b[:4096] }), "unverified", "damaged"},
		{"empty of vulnerabilities", bare, "unverified", "knows no vulnerabilities"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			before, _ := os.ReadFile(db.Path(bad.dir))
			c := &talk{t: t, in: c.in, out: c.out}
			c.refused(scanner.Request{Op: scanner.Check, Dir: bad.dir}, bad.kind, bad.about)
			c.refused(scanner.Request{Op: scanner.Open, Dir: bad.dir}, bad.kind, bad.about)
			if after, _ := os.ReadFile(db.Path(bad.dir)); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
	// The one in use before is still in use.
	if got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)}).Result; len(got.Findings) != 2 {
		t.Errorf("got %+v", got)
	}
}

// Whichever bytes of a database are overwritten, it is found or makes no difference to reading, and the process lives.
func TestCheckFindsGarbage(t *testing.T) {
	good := makeDatabase(t)
	original, err := os.ReadFile(db.Path(good))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 300 {
		dir := t.TempDir()
		b := bytes.Clone(original)
		at := random.IntN(len(b) - 64)
		for i := range 64 {
			b[at+i] = byte(random.Uint32())
		}
		meta, err := os.ReadFile(filepath.Join(good, "metadata.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(db.Path(dir), b, 0o600), os.WriteFile(filepath.Join(dir, "metadata.json"), meta, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := check(dir); err != nil {
			found++
			if !errors.Is(err, factory.ErrUnverified) {
				t.Errorf("garbage at %d: %v", at, err)
			}
		}
	}
	if found == 0 {
		t.Error("nothing was found")
	}
	t.Logf("%d of 300 found; the others lie in free pages", found)
}

// The file of the database in use is cut short while it is matched against: a fault, and a new database makes it good.
func TestTruncatedWhileOpen(t *testing.T) {
	c := converse(t)
	for range 3 {
		dir := makeDatabase(t)
		c.must(scanner.Request{Op: scanner.Open, Dir: dir})
		c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)})
		if err := os.Truncate(db.Path(dir), 0); err != nil {
			t.Fatal(err)
		}
		c.refused(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)}, "unverified", update)
		c.refused(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)}, "unverified", update)
		c.refused(makeImage(t, debianFiles(t)), "unverified", update)
	}
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)})
}

// The same in the middle of a match, where looking at the file beforehand does not help: memory faults are errors, of all who are
// matching, and the next database can be opened.
func TestTruncatedWhileMatching(t *testing.T) {
	var d database
	defer d.close()
	for range 3 {
		dir := makeDatabase(t)
		if _, err := d.use(dir); err != nil {
			t.Fatal(err)
		}
		var inside, all sync.WaitGroup
		cut := make(chan struct{})
		inside.Add(4)
		for range 4 {
			all.Go(func() {
				_, err := reading(&d, func(described) (int, error) {
					inside.Done()
					<-cut
					advisories, err := db.Config{}.GetAdvisories("debian 12", "glibc")
					return len(advisories), err
				})
				if !errors.Is(err, factory.ErrUnverified) {
					t.Errorf("got %v", err)
				}
			})
		}
		inside.Wait()
		if err := os.Truncate(db.Path(dir), 0); err != nil {
			t.Fatal(err)
		}
		close(cut)
		all.Wait()
		if err := d.ready(); !errors.Is(err, factory.ErrUnverified) {
			t.Errorf("afterwards: %v", err)
		}
	}
	if _, err := d.use(makeDatabase(t)); err != nil {
		t.Error(err)
	}
}

// A database is exchanged while others match: each match sees one of them, whole.
func TestOpenWhileMatching(t *testing.T) {
	one := makeDatabase(t)
	two := advisories()
	two.List = two.List[:2]
	two.List[0].Fixed = "0"
	dirs := []string{one, makeDatabase(t, two)} // two findings for each package, or one
	var s server
	defer s.db.close()
	if _, err := s.db.use(one); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				r := s.answer(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(20)})
				if r.Error != nil || len(r.Result.Findings) != 20 && len(r.Result.Findings) != 40 {
					t.Errorf("got %+v %+v", r.Error, r.Result)
					return
				}
			}
		})
	}
	for i := range 20 {
		if _, err := s.db.use(dirs[i%2]); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}

// Somebody who writes the database holds its lock.
func TestLockedDatabase(t *testing.T) {
	dir := makeDatabase(t)
	b, err := bolt.Open(db.Path(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := check(dir); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// A database of Trivy's own form knows severities, and who says so.
func TestTrivyForm(t *testing.T) {
	dir := t.TempDir()
	b, err := bolt.Open(db.Path(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	published := day.AddDate(-1, 0, 0)
	err = b.Update(func(tx *bolt.Tx) error {
		c := db.Config{}
		return errors.Join(
			c.PutDataSource(tx, "debian 12", dbtypes.DataSource{ID: "debian", Name: "Debian Security Tracker", URL: "https://example.com"}),
			c.PutAdvisory(tx, []string{"debian 12", "glibc"}, "CVE-2026-1", &dbtypes.Advisory{FixedVersion: "9"}),
			c.PutAdvisory(tx, []string{"debian 12", "glibc"}, "CVE-2026-2", &dbtypes.Advisory{Status: dbtypes.StatusWillNotFix, Severity: dbtypes.SeverityLow}),
			c.PutAdvisory(tx, []string{"debian 12", "glibc"}, "CVE-2026-3", &dbtypes.Advisory{}),
			c.PutVulnerability(tx, "CVE-2026-1", dbtypes.Vulnerability{
				//lint:ignore SA1019 databases have it still
				Title: "one", Severity: "HIGH", VendorSeverity: dbtypes.VendorSeverity{"nvd": dbtypes.SeverityCritical, "redhat": dbtypes.SeverityMedium},
				References: []string{"https://example.com/1"}, PublishedDate: &published,
			}),
			c.PutVulnerability(tx, "CVE-2026-2", dbtypes.Vulnerability{VendorSeverity: dbtypes.VendorSeverity{"nvd": dbtypes.SeverityCritical}}),
		)
	})
	if err := errors.Join(err, b.Close(), os.WriteFile(filepath.Join(dir, "metadata.json"), []byte(`{"Version":2,"UpdatedAt":"2026-11-20T12:00:00Z"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := converse(t)
	if got := c.must(scanner.Request{Op: scanner.Open, Dir: dir}).Database; got.Kind != factory.TrivyDatabase || !got.Updated.Equal(day) {
		t.Errorf("opened %+v", got)
	}
	if got := c.must(scanner.Request{Op: scanner.Check, Dir: dir}).Database; got.Kind != factory.TrivyDatabase || got.Advisories != 3 {
		t.Errorf("checked %+v", got)
	}
	got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)}).Result.Findings
	if len(got) != 3 {
		t.Fatalf("got %+v", got)
	}
	one, two, three := got[0], got[1], got[2]
	if one.Severity != factory.Critical || one.SeverityBy != "nvd" || one.Title != "one" || one.Status != "fixed" || !one.Published.Equal(published) || len(one.References) != 1 || one.Data != "Debian Security Tracker" || !one.FixedOn.IsZero() {
		t.Errorf("got %+v", one)
	}
	if two.Severity != factory.Low || two.SeverityBy != "debian" || two.Status != "will_not_fix" || two.Fixed != "" {
		t.Errorf("got %+v", two)
	}
	if three.Severity != factory.Unknown || three.Status != "affected" {
		t.Errorf("got %+v", three)
	}
}
