package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/dispatch"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/factory/store"
)

const (
	tenThousand = 10_000
	restless    = 20 // requests that are told to come back in a second; each of them stops everything for that long
)

// triggers measures how fast many are told through one server that fails a third of the time. Its rate is not limited.
func (b *workbench) triggers(ctx context.Context) ([]row, error) {
	say("%d triggers through a server that fails a third of them", tenThousand)
	t, err := tellMany(ctx, filepath.Join(b.work, "triggers"), tenThousand)
	if err != nil {
		return nil, err
	}
	return []row{{
		What: fmt.Sprintf("%d triggers, a third of calls failing", tenThousand), Measured: seconds(t.took), Against: fmt.Sprintf("%.0f a second", tenThousand/t.took.Seconds()),
		Target: "each once, by its key", Met: t.taken == tenThousand && t.delivered == tenThousand,
		Notes: []string{fmt.Sprintf("%d calls, %d of them for what had been taken before its answer was cut off; %d times the server asked for a second of rest; the rate is not limited here", t.calls, t.again, restless)},
	}}, nil
}

// manyTold is what came of many triggers.
type manyTold struct {
	took                           time.Duration
	calls, taken, again, delivered int
}

// tellMany writes n triggers with one release, and delivers them.
func tellMany(ctx context.Context, dir string, n int) (m manyTold, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, err
	}
	db, err := store.Open(ctx, filepath.Join(dir, "factory.db"), store.Options{Now: time.Now})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.Follow = func(factory.Entry) (all []factory.Trigger) {
		for i := range n {
			name := fmt.Sprintf("d%05d", i)
			all = append(all, factory.Trigger{ID: "t-" + name, Dependent: name, Reason: "bench"})
		}
		return all
	}
	now := time.Now().UTC()
	if _, err := db.AddRelease(ctx, factory.Release{ID: "r", Image: "debian-12", Repository: "registry.example.com/debian-12", Digest: factory.DigestOf(nil), Created: now,
		Tag: factory.Tag{Date: factory.DateOf(now), Hash: "1a2b3c4d", Env: factory.Dev}}); err != nil {
		return m, err
	}
	r := &moody{taken: map[string]int{}, chance: rand.New(rand.NewPCG(1, 2)), rests: restless * n / tenThousand}
	server := httptest.NewServer(r)
	defer server.Close()
	to := factory.Server{ID: "hooks", URL: server.URL, Token: "env:BENCH", PerMinute: 1_000_000}
	d := dispatch.Dispatcher{Outbox: db, Book: db, Teller: hook{&downstream.Client{Now: time.Now, Transport: server.Client().Transport}, to}, Now: time.Now, Rand: rand.Float64,
		Route: func(factory.Trigger) (factory.Server, error) { return to, nil }, Width: 16, PerServer: 16, Attempts: 40, Backoff: 10 * time.Millisecond, Patience: 10 * time.Second}
	began := time.Now()
	if _, err := d.Deliver(ctx); err != nil {
		return m, err
	}
	m.took = time.Since(began)
	counts, err := db.CountTriggers(ctx)
	m.calls, m.taken, m.delivered = r.calls, len(r.taken), counts[factory.TriggerDelivered]
	for _, times := range r.taken {
		m.again += times - 1
	}
	return m, err
}

// hook tells by webhook.
type hook struct {
	client *downstream.Client
	server factory.Server
}

func (h hook) Tell(ctx context.Context, t factory.Trigger) (factory.Told, error) {
	d := factory.Dependent{Name: t.Dependent, Image: t.Image, Env: t.Env, Tell: factory.Tell{How: factory.TellWebhook, Server: h.server.ID}}
	return h.client.Tell(ctx, h.server, strings.Repeat("0123456789abcdef", 4), factory.Notice{Trigger: t, Dependent: d})
}

// moody takes two of three requests, and notes their keys. The others meet 500, 429 with a second of rest (rests times) or a connection that is cut, before or after
// the request was taken.
type moody struct {
	mu     sync.Mutex
	taken  map[string]int // by key
	chance *rand.Rand
	calls  int
	rests  int
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.calls++
	mood := m.chance.IntN(12)
	if mood >= 3 { // 0 to 2 fail; 3 is taken and looks as if it had failed
		m.taken[r.Header.Get("Webhook-Id")]++
	}
	rest := mood == 1 && m.rests > 0
	if rest {
		m.rests--
	}
	m.mu.Unlock()
	switch mood {
	case 0, 1:
		if rest {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	case 2, 3:
		panic(http.ErrAbortHandler)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}
