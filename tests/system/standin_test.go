package system_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/tests/standin"
)

// yard is an installation that makes the images of the RPM families as their shipped definitions say, from stand-ins for the
// archives of the vendors: small, signed repositories of the same form.
type yard struct {
	plant
	archives map[string]*standin.Archive // by image
}

// standIns says which image each stand-in is for.
var standIns = map[string]standin.Release{"rhel-9": standin.RHEL9, "amazonlinux-2": standin.AmazonLinux2, "amazonlinux-2023": standin.AmazonLinux2023}

// newYard is a repository with the shipped definitions, in which the vendors' keys are those of the stand-ins.
func newYard(t *testing.T) yard {
	t.Helper()
	needs(t)
	from, err := shared()
	must(t, err)
	dir := t.TempDir()
	y := yard{plant{Dir: filepath.Join(dir, "repo"), State: filepath.Join(dir, "state")}, map[string]*standin.Archive{}}
	y.Addr, err = freeAddr()
	must(t, err)
	must(t, os.Mkdir(y.State, 0o700))
	for _, part := range []string{"toolbox", "buildkit"} { // whoever comes first fills them
		must(t, os.MkdirAll(filepath.Join(from.State, part), 0o755))
		must(t, os.Symlink(filepath.Join(from.State, part), filepath.Join(y.State, part)))
	}
	must(t, copyRepository(y.Dir, slices.Concat(images, children)...))
	set, err := definition.Load(y.Dir)
	must(t, err)
	for _, name := range families {
		img, err := set.Image(name)
		must(t, err)
		y.stand(t, img)
	}
	y.lessTests(t)
	y.serveArchives(t)
	gitIn(t, y.Dir, "add", "-A")
	gitIn(t, y.Dir, "commit", "-qm", "stand-ins for the archives of the vendors")
	return y
}

// stand makes the stand-in for an image's archive, and has the definition pin its key.
func (y yard) stand(t *testing.T, img factory.Image) {
	t.Helper()
	unsigned := slices.ContainsFunc(img.Archives, func(a factory.Archive) bool { return a.UnsignedMetadata })
	a, err := standin.Make(t.TempDir(), standIns[img.Name], standin.Options{
		Packages: img.Packages.Include, UnsignedMetadata: unsigned,
		Published: time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -5), // data that is older than a week is refused
	})
	must(t, err)
	y.archives[img.Name] = a
	if len(img.Keys) != 1 {
		t.Fatalf("%s pins %d keys", img.Name, len(img.Keys))
	}
	must(t, os.WriteFile(filepath.Join(y.Dir, "baseimages", "keys", img.Keys[0].File), []byte(a.Key().Armored()), 0o644))
	y.edit(t, "baseimages/"+img.Name+"/image.yaml", img.Keys[0].Fingerprint, a.Key().Fingerprint())
}

// serveArchives serves both roots, and configures them.
func (y yard) serveArchives(t *testing.T) {
	t.Helper()
	hat := httptest.NewServer(y.archives["rhel-9"].Handler())
	t.Cleanup(hat.Close)
	two, newer := y.archives["amazonlinux-2"].Handler(), y.archives["amazonlinux-2023"].Handler()
	amazon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/al2023/") {
			newer.ServeHTTP(w, r)
			return
		}
		two.ServeHTTP(w, r)
	}))
	t.Cleanup(amazon.Close)
	must(t, os.WriteFile(filepath.Join(y.Dir, "factory.yaml"), fmt.Appendf(nil, "archives:\n  redhat-ubi: %s\n  amazonlinux: %s\n", hat.URL, amazon.URL), 0o644))
}

// lessTests takes out the acceptance tests of programs that a stand-in does not have for real.
func (y yard) lessTests(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(y.Dir, "baseimages", "*", "*.yaml"))
	must(t, err)
	dropped := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		for _, name := range notInStandIns {
			one := regexp.MustCompile(`(?m)^ +- name: ` + name + `\n(?: {4,8}[a-z].*\n)+`)
			dropped += len(one.FindAll(b, -1))
			b = one.ReplaceAll(b, nil)
		}
		must(t, os.WriteFile(file, b, 0o644))
	}
	t.Logf("%d acceptance tests are for the real packages only", dropped)
}

// notInStandIns are names of acceptance tests, as patterns.
var notInStandIns = []string{
	"runs as nonroot", "has a package manager for child images", "knows the time zones", "trusts the public certificate authorities", "has a package database that rpm reads", "has every package's dependencies",
}

// The images of the RPM families go down the same pipeline, on stand-ins for their archives.
func TestStandIns(t *testing.T) {
	y := newYard(t)
	releases := map[string]factory.Release{}

	t.Run("first night", func(t *testing.T) {
		n := nightOf(t, y.ok(t, "nightly", "--commit", "--json"))
		for _, name := range families {
			if job := n.job(t, name); job.Ref == "" {
				t.Errorf("%s was not released: %+v", name, job)
			}
			releases[name] = y.release(t, name)
		}
		for _, name := range families {
			y.evidenceOf(t, releases[name])
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Run("quiet night", func(t *testing.T) { y.quiet(t) })
	t.Run("the same bytes again", func(t *testing.T) {
		for _, name := range []string{"amazonlinux-2", "rhel-9"} {
			if r := y.ok(t, "reproduce", name); !strings.Contains(r.Stdout, string(releases[name].Digest)) {
				t.Errorf("%s: %s", name, r.Stdout)
			}
		}
	})
	t.Run("child", func(t *testing.T) { y.childOn(t, releases["amazonlinux-2"]) })
	t.Run("past the end of life", func(t *testing.T) {
		r := y.exits(t, 3, "gate", "amazonlinux-2", "--env", "prod")
		for _, want := range []string{"2026-06-30", "nothing was evaluated, so nothing is proven"} {
			if !strings.Contains(r.Stdout, want) {
				t.Errorf("%q is no reason: %s", want, r.Stdout)
			}
		}
	})
	t.Run("security update", func(t *testing.T) { y.update(t, releases) })
	t.Run("modules and obsoletes", func(t *testing.T) { y.moduleAndObsoletes(t) })
	t.Run("attacks", func(t *testing.T) { y.attacks(t) })
	t.Run("moved between lock and build", func(t *testing.T) { y.movedAfterLock(t) })
}

// evidenceOf holds what is known of a release against what the stand-in is.
func (y yard) evidenceOf(t *testing.T, r factory.Release) {
	t.Helper()
	a := y.archives[r.Image]
	distro := a.Image().Distro
	y.ok(t, "verify", r.Tagged())
	sbom := y.ok(t, "sbom", r.Image).Stdout
	for _, p := range r.Lock.Platforms[0].Packages {
		if !strings.Contains(sbom, "pkg:rpm/"+distro.Family+"/"+p.Name+"@") {
			t.Errorf("%s: the SBOM lacks %s %s", r.Image, p.Name, p.Version)
		}
	}
	if r.Image == "amazonlinux-2023" && r.Lock.Release != a.Version() {
		t.Errorf("the lock is of release %q, the archive of %q", r.Lock.Release, a.Version())
	}
	if len(r.Scan.NotLookedAt) > 0 {
		t.Errorf("%s: not looked at: %q", r.Image, r.Scan.NotLookedAt)
	}
	if none := r.Compliance.NoContent != ""; none != (r.Image == "amazonlinux-2") || none == (len(r.Compliance.Evaluations) > 0) {
		t.Errorf("%s: without content: %q, %d evaluations", r.Image, r.Compliance.NoContent, len(r.Compliance.Evaluations))
	}
	for _, e := range r.Compliance.Evaluations {
		t.Logf("%s: %s: %s", r.Image, e.Name(), e.Score())
	}
	outcomes := map[factory.Outcome]int{}
	for _, c := range r.Controls {
		outcomes[c.Outcome]++
	}
	if outcomes[factory.Applied] == 0 || outcomes[factory.Failed] > 0 {
		t.Errorf("%s: controls %v", r.Image, outcomes)
	}
}

func (y yard) quiet(t *testing.T) {
	t.Helper()
	r := y.ok(t, "nightly", "--commit", "--json")
	for _, name := range families {
		if job := nightOf(t, r).job(t, name); !kept(job) {
			t.Errorf("%s: %+v", name, job)
		}
	}
	if r.saw(func(e factory.Event) bool { return strings.Contains(e.Message, "buildkitd") }) {
		t.Error("it started a build service")
	}
}

// update publishes fixes. What is released already is known to be affected, and the next night brings them, named.
func (y yard) update(t *testing.T, before map[string]factory.Release) {
	t.Helper()
	for _, name := range families {
		must(t, y.archives[name].SecurityUpdate())
	}
	y.changedBetween(t, y.archives["amazonlinux-2"], "openssl-libs")
	y.ok(t, "db", "build")
	y.ok(t, "rescan", "--all")
	for _, name := range families {
		if out := y.ok(t, "findings", name).Stdout; !strings.Contains(out, "CVE-2025-9230") || !strings.Contains(out, "openssl-libs") {
			t.Errorf("%s: the update's vulnerability is not found:\n%s", name, out)
		}
	}
	n := nightOf(t, y.ok(t, "nightly", "--commit", "--json"))
	for _, name := range families {
		job := n.job(t, name)
		if job.Action != factory.Rebuild || job.Ref == "" || job.Digest == before[name].Digest {
			t.Errorf("%s: %+v", name, job)
			continue
		}
		if message := gitIn(t, y.Dir, "log", "-1", "--format=%B", "--", "baseimages/"+name+"/lock.json"); !strings.Contains(message, "CVE-2025-9230") {
			t.Errorf("%s: the commit does not say what is fixed:\n%s", name, message)
		}
		now := y.release(t, name)
		if name == "amazonlinux-2023" && (now.Lock.Release == before[name].Lock.Release || now.Lock.Release != y.archives[name].Version()) {
			t.Errorf("latest did not move: %s, was %s", now.Lock.Release, before[name].Lock.Release)
		}
		if i := slices.IndexFunc(now.Scan.Findings, func(f factory.Finding) bool { return f.Vulnerability == "CVE-2025-9230" }); i >= 0 {
			t.Errorf("%s still has %+v", name, now.Scan.Findings[i])
		}
	}
}

// changedBetween: a package that is not what the metadata say by the time it is fetched never gets into a lock.
func (y yard) changedBetween(t *testing.T, a *standin.Archive, name string) {
	t.Helper()
	lock := filepath.Join(y.Dir, "baseimages", "amazonlinux-2", "lock.json")
	before, err := os.ReadFile(lock)
	must(t, err)
	must(t, a.Tamper(name))
	if r := y.exits(t, 5, "lock", "amazonlinux-2"); !strings.Contains(r.said(), name) {
		t.Errorf("it does not name %s: %s", name, r.said())
	}
	after, err := os.ReadFile(lock)
	if must(t, err); string(after) != string(before) {
		t.Error("the lock changed")
	}
	must(t, a.Tamper(name)) // as it was
}

// moduleAndObsoletes asks for a stream of a module, while another package is split into two that obsolete it.
func (y yard) moduleAndObsoletes(t *testing.T) {
	t.Helper()
	a := y.archives["rhel-9"]
	must(t, a.AddModule())
	must(t, a.Obsolete())
	y.edit(t, "baseimages/rhel-9/image.yaml", "    - microdnf\n", "    - microdnf\n    - nodejs\n    - procps\n")
	y.edit(t, "baseimages/rhel-9/image.yaml", "  exclude:\n", "  modules: [\"nodejs:20\"]\n  exclude:\n")
	gitIn(t, y.Dir, "commit", "-qam", "rhel-9: nodejs 20")
	if job := nightOf(t, y.ok(t, "nightly", "--commit", "--json")).job(t, "rhel-9"); job.Ref == "" {
		t.Fatalf("%+v", job)
	}
	versions := map[string]string{}
	for _, p := range y.release(t, "rhel-9").Lock.Platforms[0].Packages {
		versions[p.Name] = p.Version
	}
	if !strings.Contains(versions["nodejs"], "20.") || versions["procps-ng"] == "" || versions["procps"] != "" {
		t.Errorf("nodejs %q, procps %q, procps-ng %q", versions["nodejs"], versions["procps"], versions["procps-ng"])
	}
}

// movedAfterLock: what the archive delivers at build time is what was locked, or nothing is built.
func (y yard) movedAfterLock(t *testing.T) {
	t.Helper()
	must(t, y.archives["amazonlinux-2"].Obsolete())
	y.edit(t, "baseimages/amazonlinux-2/image.yaml", "    - yum\n", "    - yum\n    - procps-ng\n")
	gitIn(t, y.Dir, "commit", "-qam", "amazonlinux-2: procps-ng")
	y.ok(t, "lock", "amazonlinux-2", "--commit")
	must(t, y.archives["amazonlinux-2"].Tamper("procps-ng"))
	if r := y.exits(t, 5, "build", "amazonlinux-2"); !strings.Contains(r.said(), "procps-ng") {
		t.Errorf("it does not name the package: %s", r.said())
	}
}

// attacks: what is wrongly signed, or changes between solve and fetch, never gets into a lock, and stops no other image.
func (y yard) attacks(t *testing.T) {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(y.Dir, "baseimages", name, "lock.json"))
		must(t, err)
		return string(b)
	}
	hat, newer := read("rhel-9"), read("amazonlinux-2023")
	must(t, y.archives["rhel-9"].SignWithOther("bash"))
	must(t, y.archives["amazonlinux-2023"].SignMetadataWithOther())
	for name, want := range map[string]string{"rhel-9": "bash", "amazonlinux-2023": "repomd.xml"} {
		if r := y.exits(t, 5, "lock", name); !strings.Contains(r.said(), want) {
			t.Errorf("%s: %s", name, r.said())
		}
	}
	if read("rhel-9") != hat || read("amazonlinux-2023") != newer {
		t.Error("a lock changed")
	}
	r := y.exits(t, 4, "nightly", "--json")
	n := nightOf(t, r)
	// What is signed did not move in the other archive, so nobody had to believe the new signature.
	if n.job(t, "rhel-9").Error == "" || !kept(n.job(t, "amazonlinux-2023")) || !kept(n.job(t, "amazonlinux-2")) {
		t.Errorf("%+v", n)
	}
}
