package upstream

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

var faulty = suite{name: "stable", pkgs: []pkg{
	{name: "aa", version: "1.0", control: "Depends: bb\n"}, {name: "bb", version: "1.0"},
	{name: "cc", version: "1", control: "Conflicts: bb\n"}, {name: "dd", version: "1", control: "Depends: gone\n"},
}}

// flip changes one byte of a file that the archive serves.
func flip(t *testing.T, a *archive, name string, at int) {
	t.Helper()
	file := filepath.Join(a.dir, "debian", name)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	write(t, file, b)
}

func cutOff(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "4000")
	_, _ = w.Write([]byte("Package: aa\n"))
	panic(http.ErrAbortHandler)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const index = "dists/stable/main/binary-amd64/Packages"
	republish := func(change func(*suite)) func(*testing.T, *archive) {
		return func(t *testing.T, a *archive) {
			s := faulty
			change(&s)
			a.publish(s)
		}
	}
	remove := func(name string) func(*testing.T, *archive) {
		return func(t *testing.T, a *archive) { os.RemoveAll(filepath.Join(a.dir, name)) }
	}
	cases := map[string]struct {
		arrange func(t *testing.T, a *archive)
		include []string // empty = aa
		kind    error
		want    string
	}{
		"server down":      {arrange: func(t *testing.T, a *archive) { a.server.Close() }, kind: factory.ErrUnavailable, want: "archive debian stable: InRelease: the archive does not answer: Could not connect"},
		"server error":     {arrange: func(t *testing.T, a *archive) { a.answer("InRelease", status(503)) }, kind: factory.ErrUnavailable, want: "archive debian stable: InRelease: the archive does not answer: 503"},
		"suite gone":       {arrange: remove("debian/dists/stable"), kind: factory.ErrUnavailable, want: "archive debian stable: InRelease: there is no such suite"},
		"index gone":       {arrange: remove("debian/dists/stable/main"), kind: factory.ErrUnavailable, want: "archive debian stable: main/binary-amd64/Packages: it is not there: 404"},
		"index cut off":    {arrange: func(t *testing.T, a *archive) { a.answer("Packages", cutOff) }, kind: factory.ErrUnavailable, want: "archive debian stable: main/binary-amd64/Packages: the archive does not answer"},
		"wrong key":        {arrange: republish(func(s *suite) { s.key = newKey(t) }), kind: factory.ErrUnverified, want: "archive debian stable: InRelease: its signature does not hold"},
		"unsigned":         {arrange: republish(func(s *suite) { s.unsigned = true }), kind: factory.ErrUnverified, want: "archive debian stable: InRelease: its signature does not hold"},
		"no keyring":       {arrange: func(t *testing.T, a *archive) { os.Remove(filepath.Join(a.keyring, "test.gpg")) }, kind: factory.ErrUnverified, want: "test.gpg"},
		"tampered release": {arrange: func(t *testing.T, a *archive) { flip(t, a, "dists/stable/InRelease", 80) }, kind: factory.ErrUnverified, want: "archive debian stable: InRelease: its signature does not hold"},
		"tampered index":   {arrange: func(t *testing.T, a *archive) { flip(t, a, index, 20) }, kind: factory.ErrUnverified, want: "archive debian stable: main/binary-amd64/Packages: the file is not the one that was signed: Hash Sum mismatch"},
		"truncated index": {arrange: func(t *testing.T, a *archive) {
			write(t, filepath.Join(a.dir, "debian", index), []byte("Package: aa\n"))
		}, kind: factory.ErrUnverified, want: "archive debian stable: main/binary-amd64/Packages: the file is not the one that was signed: File has unexpected size"},
		"expired":           {arrange: republish(func(s *suite) { s.validUntil = day.AddDate(0, 0, 7) }), kind: factory.ErrUnverified, want: "archive debian stable: InRelease: its signed release is past its Valid-Until"},
		"from the future":   {arrange: republish(func(s *suite) { s.date = time.Now().AddDate(1, 0, 0) }), kind: factory.ErrUnverified, want: "archive debian stable: InRelease: its sign"},
		"package missing":   {include: []string{"aa", "zz"}, kind: factory.ErrUnavailable, want: "baseimages/small/image.yaml:3: small asks for package zz, which is in none of its archives: debian stable ("},
		"two missing":       {include: []string{"xx", "zz"}, kind: factory.ErrUnavailable, want: "package xx"},
		"pattern":           {include: []string{"a.+"}, kind: factory.ErrUnavailable, want: "package a.+"},
		"conflict":          {include: []string{"aa", "cc"}, kind: factory.ErrInvalid, want: "small: its packages cannot be installed together: cc : Conflicts: bb"},
		"dependency absent": {include: []string{"dd"}, kind: factory.ErrInvalid, want: "dd : Depends: gone"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArchive(t)
			a.publish(faulty)
			if c.arrange != nil {
				c.arrange(t, a)
			}
			if c.include == nil {
				c.include = []string{"aa"}
			}
			lock, change, err := a.solver().Solve(t.Context(), Request{Image: small(c.include...), Definition: factory.DigestOf(nil)})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %v: %s", err, c.kind, c.want)
			}
			if len(factory.Problems(err)) == 0 || lock.Image != "" || change.Image != "" {
				t.Errorf("not a clean refusal: %v %v %v", err, lock, change)
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

func TestEveryFaultIsNamed(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(faulty)
	img := small("aa")
	img.Archives = append(img.Archives, factory.Archive{ID: "debian", Suite: "stable-updates", Components: []string{"main"}},
		factory.Archive{ID: "debian-security", Suite: "stable-security", Components: []string{"main"}})
	s := a.solver()
	s.Archives["debian-security"] = a.server.URL + "/debian-security"
	_, _, err := s.Solve(t.Context(), Request{Image: img})
	ps := factory.Problems(err)
	if len(ps) != 2 || !strings.Contains(ps[0].What, "debian stable-updates: InRelease") || !strings.Contains(ps[1].What, "debian-security stable-security: InRelease") {
		t.Errorf("%v", err)
	}
	if strings.Contains(err.Error(), "archive debian stable: ") {
		t.Errorf("the good suite is blamed: %v", err)
	}
}

func TestExplainWithoutWords(t *testing.T) {
	t.Parallel()
	f := fault{img: small("aa")}
	for exit, kind := range map[int]error{exitFetch: factory.ErrUnavailable, exitSolution: factory.ErrInvalid} {
		if err := f.explain(factory.StepResult{Exit: exit, Stderr: []byte("E: out of cheese\n")}); !errors.Is(err, kind) || !strings.Contains(err.Error(), "out of cheese") {
			t.Errorf("exit %d: %v", exit, err)
		}
	}
	if err := f.explain(factory.StepResult{Exit: 127, Stderr: []byte("sh: awk: not found\n")}); err == nil || !strings.Contains(err.Error(), "ended with 127: sh: awk: not found") {
		t.Error(err)
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("Err:1 http://archive.invalid/debian stable InRelease\n  404  Not Found [IP: 1.2.3.4 80]\n", 10)
	f.Add("E: Failed to fetch http://archive.invalid/debian/dists/stable/main/binary-amd64/Packages.xz  Hash Sum mismatch\n", 10)
	f.Add("The following packages have unmet dependencies:\n dd : Depends: gone\n      Depends: x\n", 11)
	f.Fuzz(func(t *testing.T, text string, exit int) {
		src := source{factory.Archive{ID: "debian", Suite: "stable"}, "http://archive.invalid/debian"}
		err := fault{img: small("aa"), srcs: []source{src}}.explain(factory.StepResult{Exit: exit, Stdout: []byte(text)})
		if err == nil || err.Error() == "" {
			t.Error("a failed step without an error")
		}
	})
}
