package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/dispatch"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/factory/store"
)

// endless is an outbox that always has something, and whoever is told of it never answers.
type endless struct{ told chan struct{} }

func (e endless) OpenTriggers(context.Context) ([]factory.Trigger, error) {
	return []factory.Trigger{{ID: "t", Dependent: "api", State: factory.TriggerWaiting}}, nil
}

func (e endless) ClaimTriggers(ctx context.Context, _ []string, _ time.Time) ([]factory.Trigger, error) {
	return e.OpenTriggers(ctx)
}

func (e endless) SettleTriggers(context.Context, ...factory.Trigger) error { return nil }

func (e endless) Tell(ctx context.Context, _ factory.Trigger) (factory.Told, error) {
	select {
	case e.told <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return factory.Told{}, ctx.Err()
}

// Whoever waits for the lease does not wait for a server that is slow, nor for all that is due.
func TestCourierInAHurry(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "factory.db"), store.Options{Now: time.Now})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	e := endless{told: make(chan struct{}, 1)}
	c := &courier{app: &app{}, db: db, wake: make(chan struct{}, 1), d: &dispatch.Dispatcher{Outbox: e, Book: e, Teller: e, Now: time.Now, Rand: func() float64 { return 0 }, Timeout: time.Hour,
		Route: func(factory.Trigger) (factory.Server, error) {
			return factory.Server{ID: "ci", URL: "https://ci.example.com"}, nil
		}}}
	c.begin(t.Context())
	c.nudge()
	<-e.told
	if told := c.finish(t.Context(), true); told != nil { // it would not return for an hour
		t.Errorf("%+v", told)
	}
}

// A pipeline that is told and runs factory itself keeps its own settings.
func TestMessagesAreNoSettings(t *testing.T) {
	t.Parallel()
	var sent []string
	ci := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		for name := range r.PostForm {
			sent = append(sent, name)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer ci.Close()
	n := factory.Notice{Dependent: factory.Dependent{Name: "api", Repository: "payments/api", Tell: factory.Tell{How: factory.TellJenkins, Job: "api"}}}
	_, err := (&downstream.Client{}).Tell(t.Context(), factory.Server{ID: "ci", URL: ci.URL, User: "factory"}, "a-token-of-jenkins", n)
	must(t, err)
	if len(sent) != 7 {
		t.Errorf("sent %v", sent)
	}
	for _, s := range settings {
		for _, name := range sent {
			if s.Env == name && name != "FACTORY_CAUSE" || !strings.HasPrefix(name, "FACTORY_") {
				t.Errorf("%s is the setting %s, too", name, s.Key)
			}
		}
	}
}
