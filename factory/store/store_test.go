package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
)

// startPostgres makes this binary's one server when the first test asks for it.
var startPostgres = sync.OnceValues(storetest.StartPostgres)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerPath); path != "" {
		write(path)
		return
	}
	code := m.Run()
	if started {
		if p, err := startPostgres(); err == nil {
			if err := p.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "postgres:", err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

var started bool

func postgres(t testing.TB) *storetest.Postgres {
	t.Helper()
	started = true
	p, err := startPostgres()
	if errors.Is(err, storetest.ErrNoPostgres) && os.Getenv("FACTORY_TEST_POSTGRES") != "required" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Exercise(t, func(t *testing.T) *store.Store {
		return open(t, "sqlite:"+filepath.Join(t.TempDir(), "factory.db"))
	})
}

func TestPostgres(t *testing.T) {
	p := postgres(t)
	storetest.Exercise(t, func(t *testing.T) *store.Store { return open(t, p.Database(t)) })
}

// both runs a test on the URL of an empty database of each kind.
func both(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "factory.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, postgres(t).Database(t)) })
}

// Two processes are two stores: they share nothing but the database.
func TestTwoStoresOneDatabase(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		stores := []*store.Store{open(t, url), open(t, url)}
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				if err := storetest.Add(t.Context(), stores[n%2], storetest.Release(fmt.Sprintf("image-%d", n), 1)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, s := range stores {
			if all, err := s.Releases(t.Context(), store.Query{}); err != nil || len(all) != 200 {
				t.Errorf("%d releases of 200, %v", len(all), err)
			}
		}
	})
}

// Many processes may meet at a database that is not there yet.
func TestOpenAtOnce(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := store.Open(t.Context(), url, store.Options{Now: time.Now})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Runs(t.Context(), 0); err != nil {
					t.Error(err)
				}
				s.Close()
			})
		}
		wg.Wait()
	})
}

// A lease that one store has is seen by the other, and taken over from it.
func TestLeaseBetweenStores(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		a, b := open(t, url), open(t, url)
		var wg sync.WaitGroup
		won := make(chan *store.Lease, 20)
		for n := range cap(won) {
			wg.Go(func() {
				if l, err := []*store.Store{a, b}[n%2].Acquire(t.Context(), "night", store.Holder{PID: n}, time.Hour); err == nil {
					won <- l
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d have the lease", len(won))
		}
		b.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
		if _, err := b.Acquire(t.Context(), "night", store.Holder{PID: 99}, time.Hour); err != nil {
			t.Error(err)
		}
		if err := (<-won).Renew(t.Context()); err == nil {
			t.Error("the lease was renewed although another has it")
		}
	})
}
