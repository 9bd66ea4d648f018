package storetest

import (
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

// leaseWanted: who waits for a lease can be heard by its holder, until the lease changes hands or nobody repeats it.
func leaseWanted(t *testing.T, s *store.Store) {
	ctx, c := t.Context(), setClock(s)
	wanted := func(name, want string) {
		t.Helper()
		if got, err := s.Wanted(ctx, name); err != nil || got != want {
			t.Errorf("%s is wanted for %q, %v; want %q", name, got, err, want)
		}
	}
	must(t, s.Want(ctx, "night", "emergency CVE-1", time.Minute)) // nobody has it
	wanted("night", "")
	first, err := s.Acquire(ctx, "night", holder("run-1", 11), time.Hour)
	must(t, err)
	other, err := s.Acquire(ctx, "day", holder("run-9", 99), time.Hour)
	must(t, err)
	wanted("night", "")
	must(t, s.Want(ctx, "night", "emergency CVE-1", time.Minute))
	wanted("night", "emergency CVE-1")
	wanted("day", "")
	must(t, first.Renew(ctx)) // renewing does not make it less wanted
	wanted("night", "emergency CVE-1")

	c.advance(59 * time.Second)
	wanted("night", "emergency CVE-1")
	c.advance(time.Second)
	wanted("night", "") // who wanted it has gone
	must(t, s.Want(ctx, "night", "emergency CVE-2", time.Minute))
	wanted("night", "emergency CVE-2")
	must(t, first.Release(ctx))
	wanted("night", "")
	_, err = s.Acquire(ctx, "night", holder("run-2", 22), time.Hour)
	must(t, err)
	wanted("night", "") // it was for the one before
	must(t, other.Release(ctx))

	for _, bad := range []struct {
		name, what string
		ttl        time.Duration
	}{{"", "x", time.Minute}, {"night", "", time.Minute}, {"night", "x", 0}} {
		refused(t, s.Want(ctx, bad.name, bad.what, bad.ttl), factory.ErrInvalid)
	}
}
