package upstream

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// night is an archive with one locked image.
type night struct {
	a   *archive
	s   Solver
	req Request
}

func newNight(t *testing.T) *night {
	t.Helper()
	a := newArchive(t)
	// Valid for a day or for a century: apt asks this machine's clock, Current asks Now.
	a.publish(suite{name: "stable", pkgs: []pkg{{name: "aa", version: "1"}}, validUntil: day.AddDate(100, 0, 0)})
	a.publish(suite{name: "guide", pkgs: []pkg{{name: "bb", version: "1"}}, validUntil: day.AddDate(0, 0, 1)})
	n := &night{a: a, s: a.solver(), req: Request{Image: small("aa", "bb"), Definition: factory.DigestOf([]byte("d")), Tools: map[string]factory.Digest{"toolbox": factory.DigestOf(nil)}}}
	n.req.Image.Archives = append(n.req.Image.Archives, factory.Archive{ID: "debian", Suite: "guide", Components: []string{"main"}, Only: []string{"bb"}, AllowExpired: true})
	lock, _ := solve(t, n.s, n.req)
	lock.Digest = factory.DigestOf([]byte("pinned since"))
	n.req.Old = &lock
	return n
}

func (n *night) current(t *testing.T) bool {
	t.Helper()
	ok, err := n.s.Current(t.Context(), n.req)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func TestCurrent(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, n *night){
		"definition": func(t *testing.T, n *night) { n.req.Definition = factory.DigestOf(nil) },
		"tools":      func(t *testing.T, n *night) { n.req.Tools = nil },
		"roles":      func(t *testing.T, n *night) { n.req.Roles = n.req.Tools },
		"no lock":    func(t *testing.T, n *night) { n.req.Old = nil },
		"other lock": func(t *testing.T, n *night) {
			other := *n.req.Old
			other.Timestamp = other.Timestamp.Add(time.Second)
			n.req.Old = &other
		},
		"archives":     func(t *testing.T, n *night) { n.req.Image.Archives = n.req.Image.Archives[:1] },
		"other suite":  func(t *testing.T, n *night) { n.req.Image.Archives[1].Suite = "guide2" },
		"frozen":       func(t *testing.T, n *night) { n.s.Now = func() time.Time { return day.AddDate(101, 0, 0) } },
		"no cache":     func(t *testing.T, n *night) { n.s.Cache = "" },
		"lost cache":   func(t *testing.T, n *night) { os.RemoveAll(n.s.Cache) },
		"broken cache": func(t *testing.T, n *night) { write(t, filepath.Join(n.s.Cache, "small.json"), []byte("{")) },
		"moved on": func(t *testing.T, n *night) {
			n.a.publish(suite{name: "stable", date: day.AddDate(0, 0, 1), pkgs: []pkg{{name: "aa", version: "2"}}})
		},
		"huge": func(t *testing.T, n *night) {
			n.a.answer("stable/InRelease", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, releaseLimit+5)) })
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNight(t)
			if !n.current(t) {
				t.Fatal("an unchanged archive is not current")
			}
			change(t, n)
			if n.current(t) {
				t.Error("still current")
			}
		})
	}
}

func TestCurrentAsksOnlyForWhatChanged(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	var sent []string
	for range 2 { // the first answer's validators are remembered
		n.a.answer("stable/InRelease", func(w http.ResponseWriter, r *http.Request) {
			sent = append(sent, r.Header.Get("If-None-Match"))
			w.Header().Set("ETag", `"one"`)
			http.ServeFile(w, r, filepath.Join(n.a.dir, r.URL.Path))
		})
		if !n.current(t) {
			t.Fatal("not current")
		}
	}
	if len(sent) != 2 || sent[0] != "" || sent[1] != `"one"` {
		t.Errorf("%q", sent)
	}
}

func TestCurrentArchiveDown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(a *archive){
		"closed": func(a *archive) { a.server.Close() },
		"500":    func(a *archive) { a.answer("stable/InRelease", status(500)) },
		"gone":   func(a *archive) { a.answer("stable/InRelease", status(404)) },
		"cut":    func(a *archive) { a.answer("stable/InRelease", cutOff) },
	} {
		n := newNight(t)
		fault(n.a)
		if ok, err := n.s.Current(t.Context(), n.req); ok || !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "archive debian stable: InRelease") {
			t.Errorf("%s: %v %v", name, ok, err)
		}
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	a.publish(suite{name: "stable", pkgs: []pkg{{name: "aa", version: "1"}}})
	s := a.solver()
	s.Cache = filepath.Join(s.Cache, "file")
	write(t, s.Cache, nil)
	var seen []factory.EventKind
	s.Events = func(e factory.Event) { seen = append(seen, e.Kind) }
	lock, _ := solve(t, s, Request{Image: small("aa")})
	if lock.Image != "small" || !slices.Contains(seen, factory.Warned) {
		t.Errorf("%v %v", lock, seen)
	}
}
