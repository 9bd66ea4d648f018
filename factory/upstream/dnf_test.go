package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

// noDNF is why there is no dnf on this machine; nil = there is.
var noDNF = sync.OnceValue(func() error {
	for _, tool := range []string{"rpmkeys", "createrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	if out, err := exec.Command("/usr/bin/python3", "-c", "import dnf").CombinedOutput(); err != nil {
		return fmt.Errorf("dnf's Python library: %w: %s", err, out)
	}
	return nil
})

var standinKey = sync.OnceValues(func() (*standin.Key, error) { return standin.NewKey("Stand-in for tests") })

// standIn is a stand-in archive, served by something that may meddle, and the solver and question for it.
type standIn struct {
	*standin.Archive
	t      *testing.T
	server *httptest.Server
	s      Solver
	req    Request

	mu     sync.Mutex
	hits   []string
	meddle http.HandlerFunc // instead of the archive, for paths that end so
	suffix string
	warned []string
}

func newStandIn(t *testing.T, r standin.Release, o standin.Options) *standIn {
	t.Helper()
	if err := noDNF(); err != nil {
		t.Skipf("dnf is not installed (make lists the packages that tests need): %v", err)
	}
	key, err := standinKey()
	if err != nil {
		t.Fatal(err)
	}
	o.Key = key
	a, err := standin.Make(t.TempDir(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	n := &standIn{Archive: a, t: t, req: Request{Image: a.Image(), Definition: factory.DigestOf([]byte("asked"))}}
	n.req.Image.Packages.Include = slices.Concat(n.req.Image.Packages.Include, o.Packages)
	n.server = httptest.NewServer(n.handler(a.Handler()))
	t.Cleanup(n.server.Close)
	n.s = Solver{
		Runner: Host{}, Archives: map[string]string{a.ID(): n.server.URL}, HTTP: n.server.Client(), Cache: t.TempDir(),
		Now: func() time.Time { return standin.Published.AddDate(0, 0, 1) }, Events: n.watch,
	}
	return n
}

func (n *standIn) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.hits = append(n.hits, r.URL.Path)
		meddle := n.meddle
		if n.suffix == "" || !strings.HasSuffix(r.URL.Path, n.suffix) {
			meddle = nil
		}
		n.mu.Unlock()
		if meddle == nil {
			meddle = next.ServeHTTP
		}
		meddle(w, r)
	})
}

func (n *standIn) answer(suffix string, f http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.suffix, n.meddle = suffix, f
}

// asked returns how often a file that ends so was asked for since the last time.
func (n *standIn) asked(suffix string) (times int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.hits {
		if strings.HasSuffix(h, suffix) {
			times++
		}
	}
	n.hits = nil
	return times
}

func (n *standIn) watch(e factory.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.Kind == factory.Warned {
		n.warned = append(n.warned, e.Message)
	}
}

func (n *standIn) try(change error) {
	n.t.Helper()
	if change != nil {
		n.t.Fatal(change)
	}
}

func (n *standIn) solve() (factory.Lock, factory.LockChange) {
	n.t.Helper()
	return solve(n.t, n.s, n.req)
}

// refused checks that there is no lock, and why.
func (n *standIn) refused(kind error, want string) {
	n.t.Helper()
	lock, change, err := n.s.Solve(n.t.Context(), n.req)
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), want) {
		n.t.Errorf("got %v\nwant %v: %s", err, kind, want)
	}
	if len(factory.Problems(err)) == 0 || lock.Image != "" || change.Image != "" {
		n.t.Errorf("not a clean refusal: %v %v %v", err, lock, change)
	}
	if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
		n.t.Errorf("it names the host: %v", err)
	}
}

func named(l factory.Lock, name string) factory.Package {
	for _, p := range l.Platforms[0].Packages {
		if p.Name == name {
			return p
		}
	}
	return factory.Package{}
}

func TestSolveStandIns(t *testing.T) {
	t.Parallel()
	for release, version := range map[standin.Release]string{standin.RHEL9: "9.6", standin.AmazonLinux2: "2", standin.AmazonLinux2023: "2023.9.20251110"} {
		t.Run(string(release), func(t *testing.T) {
			t.Parallel()
			n := newStandIn(t, release, standin.Options{})
			lock, change := n.solve()
			if !change.First || lock.Release != version || !lock.Timestamp.Equal(standin.Published) {
				t.Errorf("first %v, release %q, of %v", change.First, lock.Release, lock.Timestamp)
			}
			var names []string
			for _, p := range lock.Platforms[0].Packages {
				names = append(names, p.Name)
			}
			files, err := n.Files(names...)
			if err != nil {
				t.Fatal(err)
			}
			var want []factory.Package
			for _, f := range files {
				want = append(want, f.Package)
			}
			if got := lock.Platforms[0].Packages; !slices.Equal(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if len(names) < 20 || slices.Contains(names, "rpm-plugin-audit") { // which rpm only recommends
				t.Errorf("%q", names)
			}
			if release != standin.AmazonLinux2023 { // once is enough
				return
			}
			n.req.Old = &lock
			n.asked("")
			again, change := n.solve()
			b1, _ := lock.Encode()
			if b2, _ := again.Encode(); !bytes.Equal(b1, b2) || !change.Empty() {
				t.Errorf("not stable: %+v\n%s\n%s", change, b1, b2)
			}
			if times := n.asked(".rpm"); times != 0 {
				t.Errorf("%d packages that were checked before are fetched again", times)
			}
		})
	}
}
