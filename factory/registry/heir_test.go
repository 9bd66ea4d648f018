package registry

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// lonely is an address that no outgoing connection of this machine takes by chance while its server is away.
const lonely = "127.0.0.2"

// borrow uses the registry of another, and returns a client on it that waits without waiting.
func borrow(t *testing.T, dir, addr string) (*Running, *Client) {
	t.Helper()
	run, err := (&Server{Dir: dir, Addr: addr}).Start(t.Context())
	must(t, err)
	t.Cleanup(func() {
		if err := run.Close(); err != nil {
			t.Error(err)
		}
	})
	if !run.Shared() {
		t.Fatal("not borrowed")
	}
	c := patient(new(waits))
	c.Transport, c.Insecure = run.Transport(nil), []string{lonely}
	return run, c
}

func TestABorrowedRegistryIsTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner, err := (&Server{Dir: dir, Addr: lonely + ":0"}).Start(t.Context())
	must(t, err)
	defer owner.Close()
	first, one := borrow(t, dir, owner.Addr())
	second, two := borrow(t, dir, owner.Addr())
	repo, a, tag := owner.Addr()+"/base/x", image(t, 10_000), tagOf(t, "20261123-1a2b3c4d-dev")
	must(t, one.Push(t.Context(), repo, a))
	must(t, owner.Close())

	must(t, one.Tag(t.Context(), repo, a.Digest, tag))
	if d, err := two.Resolve(t.Context(), repo+":"+tag.String()); err != nil || d != a.Digest {
		t.Errorf("the other borrower reads %s, %v", d, err)
	}
	if first.Shared() || !second.Shared() {
		t.Errorf("shared: %v, %v", first.Shared(), second.Shared())
	}
	must(t, first.Close())
	must(t, two.Ping(t.Context(), repo))
	if second.Shared() {
		t.Error("the last one does not serve")
	}

	// Whoever has closed his own serves no more.
	must(t, second.Close())
	if err := two.Ping(t.Context(), repo); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}

// The process that serves is killed in the middle of a push, which goes on.
func TestTheOwnerIsKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	a := image(t, 400_000)
	for _, at := range []int32{4, 12, 24} {
		dir := t.TempDir()
		addr, kill := child(t, dir, lonely+":0")
		run, c := borrow(t, dir, addr)
		var n atomic.Int32
		through := c.Transport
		c.Transport = tripper(func(r *http.Request) (*http.Response, error) {
			if n.Add(1) == at {
				kill()
			}
			return through.RoundTrip(r)
		})
		must(t, c.Push(t.Context(), addr+"/base/x", a))
		if run.Shared() {
			t.Errorf("killed at request %d: nobody took over", at)
		}
		if d, err := c.Resolve(t.Context(), addr+"/base/x@"+string(a.Digest)); err != nil || d != a.Digest {
			t.Errorf("killed at request %d: %s, %v", at, d, err)
		}
	}
}

func TestWhatCannotBeTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner, err := (&Server{Dir: dir, Addr: lonely + ":0"}).Start(t.Context())
	must(t, err)
	defer owner.Close()
	run, c := borrow(t, dir, owner.Addr())
	must(t, owner.Close())
	elsewhere, err := (&Server{Dir: dir, Addr: lonely + ":0"}).Start(t.Context())
	must(t, err)
	defer elsewhere.Close()
	err = c.Ping(t.Context(), owner.Addr()+"/base/x")
	if !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "is served at "+elsewhere.Addr()) {
		t.Errorf("its folder is served elsewhere: %v", err)
	}
	must(t, elsewhere.Close())

	// Another registry that is away is none of its business.
	if err := c.Ping(t.Context(), "127.0.0.1:1/base/x"); !errors.Is(err, factory.ErrUnavailable) || !run.Shared() {
		t.Errorf("shared %v: %v", run.Shared(), err)
	}
	must(t, c.Ping(t.Context(), owner.Addr()+"/base/x"))
}
