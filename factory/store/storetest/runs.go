package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func runs(t *testing.T, s *store.Store) {
	ctx, c := t.Context(), setClock(s)
	first := run("run-1")
	must(t, s.BeginRun(ctx, first))
	job := factory.RunJob{Image: "debian-13", Action: factory.Rebuild, Reason: "first release"}
	must(t, s.SaveJob(ctx, "run-1", job))
	must(t, s.SaveJob(ctx, "run-1", factory.RunJob{Image: "debian-12", Action: factory.Keep, Reason: "nothing changed"}))
	job.Release, job.Ref, job.Digest = "r1", "registry.invalid/debian-13:20261123-1a2b3c4d-prod", factory.DigestOf(nil)
	job.Error, job.Steps = "none, really", []factory.StepTime{{Step: factory.StepBuild, Seconds: 1.5}}
	must(t, s.SaveJob(ctx, "run-1", job)) // replaces

	c.advance(time.Minute)
	must(t, s.FinishRun(ctx, "run-1", factory.Succeeded, "2 images, 1 released"))
	must(t, s.FinishRun(ctx, "run-1", factory.Succeeded, "again"))
	refused(t, s.FinishRun(ctx, "run-1", factory.Broken, "no"), factory.ErrConflict, "run-1", "succeeded")
	refused(t, s.FinishRun(ctx, "run-x", factory.Broken, "no"), factory.ErrNotFound, "run-x", "factory runs")
	refused(t, s.SaveJob(ctx, "run-x", job), factory.ErrNotFound, "run-x")
	refused(t, s.BeginRun(ctx, first), factory.ErrConflict, "run-1")
	refused(t, s.BeginRun(ctx, factory.Run{ID: "a b"}), factory.ErrInvalid)

	second := run("run-2")
	second.Started, second.State, second.Env = night.Add(time.Hour), "", "" // Running; of no environment
	second.Jobs = []factory.RunJob{{Image: "toolbox", Action: factory.Fail, Reason: "archive is down"}}
	must(t, s.BeginRun(ctx, second))

	finished := night.Add(time.Minute)
	first.State, first.Verdict, first.Finished = factory.Succeeded, "2 images, 1 released", &finished
	first.Jobs = []factory.RunJob{{Image: "debian-12", Action: factory.Keep, Reason: "nothing changed"}, job}
	second.State = factory.Running
	got, err := s.Runs(ctx, 0)
	must(t, err)
	if want := []factory.Run{second, first}; !reflect.DeepEqual(got, want) {
		t.Errorf("runs:\n%+v\nwant\n%+v", got, want)
	}
	got, err = s.Runs(ctx, 1)
	must(t, err)
	if len(got) != 1 || got[0].ID != "run-2" {
		t.Errorf("newest run: %+v", got)
	}

	// A run that is known from elsewhere keeps its end.
	old := run("run-0")
	old.State, old.Finished = factory.Partial, &finished
	must(t, s.BeginRun(ctx, old))
	if got, err := s.Run(ctx, "run-0"); err != nil || !reflect.DeepEqual(got, old) {
		t.Errorf("run %+v, %v", got, err)
	}
}

func runReferences(t *testing.T, s *store.Store) {
	ctx := t.Context()
	for _, id := range []string{"01jd", "01jda", "01jdb", "01JX", "02"} {
		must(t, s.BeginRun(ctx, run(id)))
	}
	for prefix, want := range map[string]string{"01jd": "01jd", "01jda": "01jda", "01J": "01JX", "0": "!", "01jd%": "", "x": "", "": "", "02": "02", "01_": ""} {
		got, err := s.Run(ctx, prefix)
		switch want {
		case "":
			refused(t, err, factory.ErrNotFound, "factory runs")
		case "!":
			refused(t, err, factory.ErrInvalid, "several runs", "01jda", "01JX", "02")
		default:
			if err != nil || got.ID != want {
				t.Errorf("%q: run %q, %v", prefix, got.ID, err)
			}
		}
	}
}

// foreignText stores what programs print: NUL, broken UTF-8, quotes and placeholders.
func foreignText(t *testing.T, s *store.Store) {
	ctx := t.Context()
	text := "a\x00b\xffc 'd' \"e\" ? ?0 $1 \\ %s é 🙂"
	must(t, s.BeginRun(ctx, run("run-1")))
	must(t, s.SaveJob(ctx, "run-1", factory.RunJob{Image: "debian-12", Error: text, Reason: text}))
	must(t, s.FinishRun(ctx, "run-1", factory.Broken, text))
	got, err := s.Run(ctx, "run-1")
	must(t, err)
	want := "a\uFFFDb\uFFFDc 'd' \"e\" ? ?0 $1 \\ %s é 🙂"
	if got.Verdict != want || got.Jobs[0].Error != want || got.Jobs[0].Reason != want {
		t.Errorf("text became %q", []string{got.Verdict, got.Jobs[0].Error, got.Jobs[0].Reason})
	}
}

func manyWriters(t *testing.T, s *store.Store) {
	ctx := t.Context()
	must(t, s.BeginRun(ctx, run("run-1")))
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			for m := range 10 {
				image := fmt.Sprintf("image-%d-%d", n, m)
				if err := s.SaveJob(ctx, "run-1", factory.RunJob{Image: image}); err != nil {
					t.Error(err)
				}
				if err := Add(ctx, s, Release(image, n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Run(ctx, "run-1")
	must(t, err)
	all, err := s.Releases(ctx, store.Query{})
	must(t, err)
	if len(got.Jobs) != 200 || len(all) != 200 {
		t.Errorf("%d jobs and %d releases of 200", len(got.Jobs), len(all))
	}
}

func cancelled(t *testing.T, s *store.Store) {
	why := errors.New("interrupted by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, runs := s.Runs(ctx, 0)
	_, find := s.Release(ctx, "debian-12")
	_, lease := s.Acquire(ctx, "night", store.Holder{}, time.Minute)
	_, remember := s.Remember(ctx, "debian-12", Scan(1))
	_, scan := s.SaveScan(ctx, "r", Scan(1))
	for _, err := range []error{remember, scan, s.Promote(ctx, entry(Release("debian-12", 1), factory.Dev)), runs, find, lease, s.BeginRun(ctx, run("run-1")), Add(ctx, s, Release("debian-12", 1))} {
		if !errors.Is(err, why) || len(factory.Problems(err)) > 0 {
			t.Errorf("error %v, want the cause of the cancellation", err)
		}
	}
	if all, err := s.Runs(t.Context(), 0); err != nil || len(all) > 0 {
		t.Errorf("%d runs, %v", len(all), err)
	}
}

func closed(t *testing.T, s *store.Store) {
	ctx := t.Context()
	l, err := s.Acquire(ctx, "night", store.Holder{}, time.Minute)
	must(t, err)
	must(t, s.Close())
	_, runs := s.Runs(ctx, 0)
	_, byID := s.Run(ctx, "r")
	_, all := s.Releases(ctx, store.Query{})
	_, latest := s.Latest(ctx, "debian-12")
	_, byRef := s.Release(ctx, "debian-12")
	_, none := s.Release(ctx, "")
	_, inputs := s.Inputs(ctx, "r")
	_, lease := s.Acquire(ctx, "day", store.Holder{}, time.Minute)
	_, documents := s.Documents(ctx, "r")
	_, document := s.Document(ctx, "r", factory.SPDX, "x")
	_, holding := s.Holding(ctx, "bash")
	_, remember := s.Remember(ctx, "debian-12", Scan(1))
	_, scan := s.SaveScan(ctx, "r", Scan(1))
	_, last := s.LatestScan(ctx, "r")
	_, findings := s.Findings(ctx, store.FindingQuery{})
	_, ledger := s.Ledger(ctx, store.LedgerQuery{})
	_, standing := s.Standing(ctx)
	_, revoked := s.Revoked(ctx, "x", "")
	e := entry(Release("debian-12", 1), factory.Dev)
	for _, err := range []error{documents, document, holding, remember, scan, last, findings, ledger, standing, revoked, s.Promote(ctx, e), s.Revoke(ctx, e),
		runs, byID, all, latest, byRef, none, inputs, lease, l.Renew(ctx), l.Release(ctx), s.BeginRun(ctx, run("r")),
		s.SaveJob(ctx, "r", factory.RunJob{}), s.FinishRun(ctx, "r", factory.Broken, ""), Add(ctx, s, Release("debian-12", 1))} {
		refused(t, err, factory.ErrUnavailable)
	}
}
