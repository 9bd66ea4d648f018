package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func gz(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func solve(t *testing.T, s Solver, req Request) (factory.Lock, factory.LockChange) {
	t.Helper()
	if req.Definition == "" {
		req.Definition = factory.DigestOf([]byte(req.Image.Name))
	}
	lock, change, err := s.Solve(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := lock.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factory.DecodeLock(b); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if strings.Contains(string(b), "127.0.0.1") {
		t.Errorf("the lock names a host:\n%s", b)
	}
	return lock, change
}

func names(pkgs []factory.Package) string {
	var all []string
	for _, p := range pkgs {
		all = append(all, p.Name+"="+p.Version+"/"+p.Arch)
	}
	return strings.Join(all, " ")
}

func TestSolve(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(suite{name: "stable", pkgs: []pkg{
		{name: "aa", version: "1:1.0+x-1", control: "Depends: lib-aa1, mail | other\nRecommends: bb\n"},
		{name: "lib-aa", version: "3"}, {name: "lib-aa1", version: "1.0-1+b2", source: "aa (1.0-1)"}, {name: "bb", version: "1"},
		{name: "mail", version: "1"}, {name: "other", version: "1"},
		{name: "init", version: "1", control: "Essential: yes\n"}, {name: "tool", version: "1", control: "Priority: required\n"},
		{name: "apt", version: "1"}, {name: "bloat", version: "1", control: "Priority: required\n"},
	}})
	a.publish(suite{name: "stable-updates", date: day.AddDate(0, 0, 2), pkgs: []pkg{{name: "lib-aa1", version: "1.0-1+b3", source: "aa (1.0-1)"}}})
	a.publish(suite{name: "unused", date: day.AddDate(0, 0, 9), pkgs: []pkg{{name: "unrelated", version: "1"}}})
	a.publish(suite{name: "unstable", date: day.AddDate(0, 0, 5), validUntil: day.AddDate(0, 0, 6), pkgs: []pkg{
		{name: "guide", version: "9"}, {name: "aa", version: "99"}, {name: "evil", version: "1", control: "Essential: yes\n"}}})
	img := small("aa", "guide", "lib-aa")
	img.Archives = []factory.Archive{
		{ID: "debian", Suite: "stable", Components: []string{"main"}}, {ID: "debian", Suite: "stable-updates", Components: []string{"main"}},
		{ID: "debian", Suite: "unused", Components: []string{"main"}},
		{ID: "debian", Suite: "unstable", Components: []string{"main"}, Only: []string{"guide"}, AllowExpired: true},
	}
	img.Packages.Essential = true
	img.Packages.Exclude = []string{"bloat", "mail"}
	s := a.solver()
	lock, change := solve(t, s, Request{Image: img, Tools: map[string]factory.Digest{"toolbox": factory.DigestOf([]byte("t"))}})
	const want = "aa=1:1.0+x-1/amd64 apt=1/amd64 guide=9/amd64 init=1/amd64 lib-aa=3/amd64 lib-aa1=1.0-1+b3/amd64 other=1/amd64 tool=1/amd64"
	if got := names(lock.Platforms[0].Packages); got != want {
		t.Errorf("packages\n%s\nwant\n%s", got, want)
	}
	if !lock.Timestamp.Equal(day.AddDate(0, 0, 2)) {
		t.Errorf("timestamp %v is not the newest of the suites that matter", lock.Timestamp)
	}
	if p := lock.Platforms[0].Packages[5]; p.Source != "aa" || p.SourceVersion != "1.0-1" || p.Archive != "debian" || p.Path != "pool/main/lib-aa1/lib-aa1_1.0-1+b3_amd64.deb" {
		t.Errorf("%+v", p)
	}
	if !change.First || lock.Tools["toolbox"] == "" {
		t.Errorf("%+v", change)
	}
	again, _ := solve(t, s, Request{Image: img, Tools: lock.Tools})
	b1, _ := lock.Encode()
	if b2, _ := again.Encode(); !bytes.Equal(b1, b2) {
		t.Errorf("not stable:\n%s\n%s", b1, b2)
	}
}

func TestSolveForeignPlatforms(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(suite{name: "stable", arches: []string{"amd64", "arm64"}, pkgs: []pkg{{name: "aa", version: "1"}}})
	img := small("aa")
	img.Platforms = append(img.Platforms, factory.Platform{OS: "linux", Architecture: "arm64"})
	lock, _ := solve(t, a.solver(), Request{Image: img})
	if got := names(lock.Platforms[0].Packages) + " " + names(lock.Platforms[1].Packages); got != "aa=1/amd64 aa=1/arm64" {
		t.Error(got)
	}
}

func TestSolveOnlyIsALimit(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(suite{name: "stable", pkgs: []pkg{{name: "bb", version: "1"}}})
	a.publish(suite{name: "unstable", pkgs: []pkg{{name: "guide", version: "9", control: "Depends: helper\n"}, {name: "helper", version: "1"}}})
	img := small("guide")
	img.Archives = append(img.Archives, factory.Archive{ID: "debian", Suite: "unstable", Components: []string{"main"}, Only: []string{"guide"}})
	if _, _, err := a.solver().Solve(t.Context(), Request{Image: img}); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "guide : Depends: helper") {
		t.Errorf("a limited suite gave more than it may: %v", err)
	}
	img.Archives[1].Only = []string{"guide", "helper"}
	lock, _ := solve(t, a.solver(), Request{Image: img})
	if !lock.Timestamp.Equal(day) {
		t.Errorf("timestamp %v", lock.Timestamp)
	}
}

func TestSolveChange(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	img := small("aa", "bb", "data", "native")
	s := a.solver()
	a.publish(suite{name: "stable", pkgs: []pkg{
		{name: "aa", version: "1.0-1", control: "Depends: gone\n"}, {name: "gone", version: "1"}, {name: "bb", version: "1"},
		{name: "data", version: "1.0-1+b1", source: "aa (1.0-1)"}, {name: "native", version: "1"}}})
	old, _ := solve(t, s, Request{Image: img})

	log := "aa (1.0-3) stable; urgency=high\n\n  * CVE-2026-0002 and CVE-2026-0001, again CVE-2026-0002\n\n" +
		"aa (1.0-2) stable; urgency=high\n\n  * CVE-2025-99999\n\naa (1.0-1) stable; urgency=low\n\n  * CVE-2020-1111\n"
	a.publish(suite{name: "stable", date: day.AddDate(0, 0, 1), pkgs: []pkg{
		{name: "aa", version: "1.0-3", control: "Depends: new\n", changelog: gz(t, log)}, {name: "new", version: "2"}, {name: "bb", version: "1"},
		{name: "data", version: "1.0-3+b1", source: "aa (1.0-3)", doc: "aa"}, {name: "native", version: "2"}}})
	lock, change := solve(t, s, Request{Image: img, Old: &old, Roles: map[string]factory.Digest{"cis": factory.DigestOf(nil)}})
	var got []string
	for _, c := range change.Packages {
		got = append(got, c.Name+" "+c.Old+">"+c.New+" "+strings.Join(c.CVEs, ","))
	}
	const cves = "CVE-2025-99999,CVE-2026-0001,CVE-2026-0002"
	want := []string{"aa 1.0-1>1.0-3 " + cves, "data 1.0-1+b1>1.0-3+b1 " + cves, "gone 1> ", "native 1>2 ", "new >2 "}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.Equal(change.Other, []string{"role cis"}) || change.First {
		t.Errorf("%+v", change)
	}

	t.Run("same packages keep their timestamp", func(t *testing.T) {
		pinned := lock
		pinned.Digest = factory.DigestOf([]byte("made"))
		a.publish(suite{name: "stable", date: day.AddDate(0, 0, 8), pkgs: []pkg{
			{name: "aa", version: "1.0-3", control: "Depends: new\n", changelog: gz(t, log)}, {name: "new", version: "2"}, {name: "bb", version: "1"},
			{name: "data", version: "1.0-3+b1", source: "aa (1.0-3)", doc: "aa"}, {name: "native", version: "2"}}})
		same, change := solve(t, s, Request{Image: img, Old: &pinned, Roles: lock.Roles})
		b1, _ := pinned.Encode()
		if b2, _ := same.Encode(); !bytes.Equal(b1, b2) || !change.Empty() {
			t.Errorf("%v\n%s\n%s", change, b1, b2)
		}
		other, change := solve(t, s, Request{Image: img, Old: &pinned, Definition: factory.DigestOf([]byte("other")), Tools: map[string]factory.Digest{"toolbox": factory.DigestOf(nil)}})
		if other.Digest != "" || !slices.Equal(change.Other, []string{"definition", "role cis", "toolbox"}) {
			t.Errorf("%v %v", other.Digest, change)
		}
	})

	t.Run("tampered package", func(t *testing.T) {
		flip(t, a, "pool/main/native/native_2_amd64.deb", 300)
		incomplete(t, s, Request{Image: img, Old: &old}, "archive debian stable: pool/main/native/native_2_amd64.deb: the file is not the one that was signed")
	})
	t.Run("package gone", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(a.dir, "debian/pool/main/native")); err != nil {
			t.Fatal(err)
		}
		incomplete(t, s, Request{Image: img, Old: &old}, "native_2_amd64.deb: it is not there")
	})
	t.Run("runner is gone", func(t *testing.T) {
		broken := s
		broken.Runner = onlyFirst{s.Runner, new(atomic.Int32)}
		incomplete(t, broken, Request{Image: img, Old: &old}, "build service is down")
	})
	t.Run("cancelled in between", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a.answer(".deb", func(w http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		if _, _, err := s.Solve(ctx, Request{Image: img, Old: &old, Definition: old.Definition}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// onlyFirst is a build service that goes away after its first step.
type onlyFirst struct {
	Runner
	runs *atomic.Int32
}

func (r onlyFirst) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	if r.runs.Add(1) > 1 {
		return factory.StepResult{}, errors.New("build service is down")
	}
	return r.Runner.Run(ctx, s)
}

// incomplete expects a whole lock with its change, and one warning that says why CVE ids may be missing.
func incomplete(t *testing.T, s Solver, req Request, why string) {
	t.Helper()
	var warned []string
	s.Events = func(e factory.Event) {
		if e.Kind == factory.Warned {
			warned = append(warned, e.Message)
		}
	}
	lock, change := solve(t, s, req)
	if !strings.Contains(names(lock.Platforms[0].Packages), "native=2/amd64") || len(change.Packages) == 0 {
		t.Errorf("%+v", change)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "CVE ids of this update are incomplete") || !strings.Contains(warned[0], why) {
		t.Errorf("warnings %q, want %s", warned, why)
	}
}

// scripted is a step whose result is known.
type scripted struct {
	res factory.StepResult
	err error
}

func (r scripted) Run(context.Context, factory.Step) (factory.StepResult, error) { return r.res, r.err }

func TestSolveBelievesNothing(t *testing.T) {
	t.Parallel()
	url := "http://archive.invalid/debian"
	rel := []byte("Date: Fri, 20 Nov 2020 10:00:00 UTC\n")
	good := "Entry: 000.sources:1\nPackage: aa\nVersion: 1\nArchitecture: amd64\nFilename: pool/a/aa_1_amd64.deb\nSize: 10\nSHA256: " + factory.DigestOf(nil).Hex() + "\n\n"
	uri := "'" + url + "/pool/a/aa_1_amd64.deb' aa_1_amd64.deb 10 SHA256:x\n"
	step := func(rel []byte, uris, stanzas string) scripted {
		return scripted{res: factory.StepResult{Output: map[string][]byte{
			"release/archive.invalid_debian_dists_stable_InRelease": rel, "000/amd64.uris": []byte(uris), "000/amd64.packages": []byte(stanzas)}}}
	}
	down := errors.New("build service is down")
	cases := map[string]struct {
		run  Runner
		want string
	}{
		"runner":         {scripted{err: down}, "build service is down"},
		"no release":     {scripted{}, "has no InRelease file"},
		"odd release":    {step([]byte("Date: yesterday\n"), uri, good), "Date"},
		"no packages":    {step(rel, "", ""), "asks for no packages"},
		"unlisted":       {step(rel, strings.ReplaceAll(uri, "aa_1", "zz_1"), good), "no archive lists zz_1_amd64.deb"},
		"other size":     {step(rel, strings.ReplaceAll(uri, " 10 ", " 11 "), good), "no archive lists"},
		"odd uri":        {step(rel, "'x", good), "apt's plan"},
		"twice":          {step(rel, uri+uri, good), "is there twice"},
		"no checksum":    {step(rel, uri, strings.ReplaceAll(good, "SHA256: ", "SHA256: zz")), "stanza of \"aa\""},
		"no size":        {step(rel, uri, strings.ReplaceAll(good, "Size: 10", "Size: -1")), "size"},
		"odd source":     {step(rel, uri, "Source: x (1;2)\n"+good), "source"},
		"unknown source": {step(rel, uri, strings.ReplaceAll(good, "000", "001")), "which source"},
		"short source":   {step(rel, uri, strings.ReplaceAll(good, "000.sources:1", "x")), "which source"},
		"odd path":       {step(rel, uri, strings.ReplaceAll(good, "pool/a", "../pool")), "file"},
		"field twice":    {step(rel, uri, "Size: 9\n"+good), "stanza"},
		"not asked for":  {step(rel, strings.ReplaceAll(uri, "aa_1", "bb_1"), strings.ReplaceAll(strings.ReplaceAll(good, ": aa", ": bb"), "aa_1", "bb_1")), "asks for package aa"},
	}
	for name, c := range cases {
		s := Solver{Runner: c.run, Archives: map[string]string{"debian": url + "/"}}
		_, _, err := s.Solve(t.Context(), Request{Image: small("aa")})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	img := small("aa")
	img.Packages.Exclude = []string{"aa"}
	if _, _, err := (Solver{Runner: step(rel, uri, good), Archives: map[string]string{"debian": url}}).Solve(t.Context(), Request{Image: img}); err == nil || !strings.Contains(err.Error(), "excludes aa") {
		t.Error(err)
	}
	img = small("aa")
	img.Archives[0].Only = []string{"other"}
	if _, _, err := (Solver{Runner: step(rel, uri, good), Archives: map[string]string{"debian": url}}).Solve(t.Context(), Request{Image: img}); err == nil || !strings.Contains(err.Error(), "which may offer other only") {
		t.Error(err)
	}
	if lock, _, err := (Solver{Runner: step(rel, uri, good), Archives: map[string]string{"debian": url}}).Solve(t.Context(), Request{Image: small("aa")}); err != nil || !lock.Timestamp.Equal(time.Date(2020, 11, 20, 10, 0, 0, 0, time.UTC)) {
		t.Error(lock, err)
	}
}
