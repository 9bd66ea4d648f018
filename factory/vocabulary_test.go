package factory_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func TestTagsAreWhatRegistriesSee(t *testing.T) {
	tag, err := factory.ParseTag("20261123-1a2b3c4d-prod")
	if err != nil || tag.Date.String() != "2026-11-23" || tag.Hash != "1a2b3c4d" || tag.Env != factory.Prod || tag.String() != "20261123-1a2b3c4d-prod" {
		t.Fatalf("%+v %v", tag, err)
	}
	for _, bad := range []string{"", "latest", "20261123-1a2b3c4d", "20261123-1a2b3c4d-qa", "20261323-1a2b3c4d-dev", "20261123-1A2b3c4d-dev",
		"20261123-1a2b3c4-dev", "20261123-1a2b3c4d-dev ", "2026-1123-1a2b3c4d-dev", "00001123-1a2b3c4d-dev"} {
		if _, err := factory.ParseTag(bad); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("ParseTag(%q) = %v", bad, err)
		}
	}
	tags := []string{"20261124-00000000-dev", "20261123-ffffffff-dev", "20261123-00000000-prod", "20261123-00000000-staging", "20261123-00000000-dev"}
	parsed := make([]factory.Tag, len(tags))
	for i, s := range tags {
		parsed[i], _ = factory.ParseTag(s)
	}
	slices.SortFunc(parsed, factory.Tag.Compare)
	for i, want := range slices.Backward(tags) {
		if got := parsed[len(tags)-1-i].String(); got != want {
			t.Errorf("place %d: %s, want %s", len(tags)-1-i, got, want)
		}
	}
}

func FuzzParseTag(f *testing.F) {
	f.Add("20261123-1a2b3c4d-prod")
	f.Add("20240229-00000000-dev")
	f.Add("--")
	f.Fuzz(func(t *testing.T, s string) {
		tag, err := factory.ParseTag(s)
		if err == nil && tag.String() != s {
			t.Errorf("ParseTag(%q).String() = %q", s, tag)
		}
	})
}

func TestTextForms(t *testing.T) {
	type all struct {
		D factory.Digest
		P factory.Platform
		T factory.Tag
		Z factory.Tag
		U factory.Date
		N factory.Date
	}
	tag, _ := factory.ParseTag("20261123-1a2b3c4d-dev")
	in := all{D: factory.DigestOf([]byte("x")), P: factory.Platform{OS: "linux", Architecture: "arm64"}, T: tag, U: factory.DateOf(time.Date(2026, 11, 23, 23, 59, 0, 0, time.UTC))}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out all
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%s: %+v %v", b, out, err)
	}
	if in.D.Short() != in.D.Hex()[:12] || factory.Digest("").Short() != "" || !out.N.IsZero() || !in.U.Time().Equal(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", in)
	}
	for _, bad := range []string{`{"D":"sha256:1"}`, `{"D":"md5:00"}`, `{"P":"linux/s390x"}`, `{"P":"linux"}`, `{"T":"x"}`, `{"U":"23.11.2026"}`} {
		if err := json.Unmarshal([]byte(bad), &out); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if (factory.Platform{}).String() != "" {
		t.Error("no platform has a name")
	}
}

func TestProblems(t *testing.T) {
	cause := errors.New("no such key")
	p := &factory.Problem{Kind: factory.ErrInvalid, What: "bad name", Where: factory.Position{File: "a.yaml", Line: 3, Column: 7}, Hint: "did you mean debian-12?", Cause: cause}
	if got, want := p.Error(), "a.yaml:3:7: bad name: no such key (did you mean debian-12?)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if !errors.Is(p, factory.ErrInvalid) || !errors.Is(p, cause) {
		t.Error("kind and cause are both in the chain")
	}
	other := &factory.Problem{What: "plain"}
	err := errors.Join(fmt.Errorf("check: %w", p), errors.New("not one"), other)
	if got := factory.Problems(err); len(got) != 2 || got[0] != p || got[1] != other || other.Error() != "plain" || len(other.Unwrap()) != 0 {
		t.Errorf("%v", got)
	}
	if factory.Problems(nil) != nil {
		t.Error("no error has no problems")
	}
	if got := (factory.Position{File: "a", Line: 2}).String(); got != "a:2" {
		t.Error(got)
	}
}

func lock() factory.Lock {
	pkg := func(name, arch string) factory.Package {
		return factory.Package{Name: name, Version: "1:2.3+b1~x", Arch: arch, Archive: "debian", Path: "pool/main/" + name + ".deb", Size: 10, SHA256: factory.DigestOf([]byte(name + arch))}
	}
	return factory.Lock{Schema: 1, Image: "debian-12", Definition: factory.DigestOf(nil), Timestamp: time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC),
		Tools: map[string]factory.Digest{"toolbox": factory.DigestOf([]byte("t"))},
		Platforms: []factory.LockedPlatform{
			{Platform: factory.Platform{OS: "linux", Architecture: "arm64"}, Packages: []factory.Package{pkg("a", "arm64")}},
			{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Packages: []factory.Package{pkg("b", "amd64"), pkg("a", "all")}},
		}}
}

func TestLockIsCanonical(t *testing.T) {
	b, err := lock().Encode()
	if err != nil {
		t.Fatal(err)
	}
	l, err := factory.DecodeLock(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	again, _ := l.Encode()
	if string(again) != string(b) {
		t.Error("the bytes change on the way")
	}
	amd := factory.Platform{OS: "linux", Architecture: "amd64"}
	if got := l.For(amd); len(got) != 2 || got[0].Name != "a" {
		t.Errorf("packages %v", got)
	}
	if l.For(factory.Platform{}) != nil || l.Size() != 30 || !l.SamePackages(l) || l.SamePackages(factory.Lock{}) {
		t.Error("For, Size or SamePackages")
	}
	if got, want := l.For(amd)[1].Purl(factory.Distro{Family: "debian", Release: "12"}), "pkg:deb/debian/b@1%3A2.3%2Bb1~x?arch=amd64&distro=debian-12"; got != want {
		t.Errorf("purl %s, want %s", got, want)
	}
	if lines := strings.Count(string(b), "\n"); lines != 18 {
		t.Errorf("%d lines, so a diff is not one line a package:\n%s", lines, b)
	}
}

func TestCorruptLocksAreRefused(t *testing.T) {
	good, _ := lock().Encode()
	for name, edit := range map[string]func(string) string{
		"cut":           func(s string) string { return s[:len(s)/2] },
		"empty":         func(string) string { return "" },
		"trailing":      func(s string) string { return s + "{}" },
		"unknown field": func(s string) string { return strings.Replace(s, `"schema"`, `"schemer"`, 1) },
		"schema":        func(s string) string { return strings.Replace(s, `"schema": 1`, `"schema": 2`, 1) },
		"no image":      func(s string) string { return strings.Replace(s, `"debian-12"`, `""`, 1) },
		"digest":        func(s string) string { return strings.Replace(s, "sha256:", "sha257:", 1) },
		"escape":        func(s string) string { return strings.Replace(s, "pool/main", "../../etc", 1) },
		"absolute":      func(s string) string { return strings.Replace(s, "pool/main", "/etc", 1) },
		"host":          func(s string) string { return strings.Replace(s, "pool/main", "http://evil.example/x", 1) },
		"query":         func(s string) string { return strings.Replace(s, "a.deb", "a.deb?x", 1) },
		"size":          func(s string) string { return strings.Replace(s, `"size":10`, `"size":0`, 1) },
		"twice": func(s string) string {
			return strings.NewReplacer(`"name":"b"`, `"name":"a"`, `"arch":"all"`, `"arch":"amd64"`).Replace(s)
		},
		"order":  func(s string) string { return strings.Replace(s, `"name":"a"`, `"name":"c"`, 1) },
		"layout": func(s string) string { return strings.Replace(s, "  ", " ", 1) },
		"no packages": func(s string) string {
			return s[:strings.Index(s, `"packages": [`)] + "\"packages\": [\n    ]}\n  ]\n}\n"
		},
	} {
		if _, err := factory.DecodeLock([]byte(edit(string(good)))); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "factory lock") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeLock(f *testing.F) {
	good, _ := lock().Encode()
	f.Add(good)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := factory.DecodeLock(b)
		if err != nil {
			return
		}
		again, err := l.Encode()
		if err != nil || string(again) != string(b) {
			t.Errorf("accepted, but not canonical: %v", err)
		}
	})
}

func TestLockChange(t *testing.T) {
	c := factory.LockChange{Packages: []factory.PackageChange{{CVEs: []string{"CVE-2", "CVE-1"}}, {CVEs: []string{"CVE-1"}}}}
	if got := c.CVEs(); !slices.Equal(got, []string{"CVE-1", "CVE-2"}) || c.Empty() || !(factory.LockChange{Image: "x"}).Empty() {
		t.Errorf("%v", got)
	}
}

func TestReleaseNames(t *testing.T) {
	tag, _ := factory.ParseTag("20261123-1a2b3c4d-dev")
	r := factory.Release{Repository: "r.example/debian-12", Digest: factory.DigestOf(nil), Tag: tag}
	if r.Tagged() != "r.example/debian-12:20261123-1a2b3c4d-dev" || r.Ref() != "r.example/debian-12@"+string(factory.DigestOf(nil)) {
		t.Errorf("%s %s", r.Tagged(), r.Ref())
	}
	var e factory.Events
	e.Emit(factory.Event{}) // nobody listens
	n := 0
	e = func(factory.Event) { n++ }
	e.Emit(factory.Event{})
	if n != 1 || factory.ToolboxPython("x.py")[8] != "x.py" {
		t.Error("events or the toolbox's python")
	}
}

// An outage is one only when nothing else went wrong.
func TestOutage(t *testing.T) {
	down := &factory.Problem{Kind: factory.ErrUnavailable, What: "archive", Cause: factory.ErrUnverified}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nothing": {nil, false}, "anything": {errors.New("down"), false}, "down": {down, true}, "wrapped": {fmt.Errorf("build a: %w", down), true},
		"busy": {factory.ErrBusy, true}, "full": {&factory.Problem{What: "work folder", Cause: syscall.ENOSPC}, true}, "nobody knows": {&factory.Problem{What: "x"}, false},
		"two": {errors.Join(down, factory.ErrUnavailable), true}, "beside a test": {errors.Join(down, factory.ErrBlocked), false},
		"blocked because of it": {&factory.Problem{Kind: factory.ErrBlocked, What: "x", Cause: down}, false},
	} {
		if factory.Outage(c.err) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}
