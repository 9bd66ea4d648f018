package pipeline_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

// Property d: one failing image never stops its neighbours.
func TestOneFailureDoesNotStopOthers(t *testing.T) {
	p := newPlant()
	cause := &factory.Problem{Kind: factory.ErrUnavailable, What: "archive down"}
	p.fail["build b"] = cause
	broken := factory.Job{Image: factory.Image{Name: "d"}, Action: factory.Fail, Reason: "its definition is not valid", Err: factory.ErrInvalid}
	kept := job("c")
	kept.Action, kept.Reason = factory.Keep, "nothing changed"
	out, err := p.run(t, job("b"), job("a"), kept, broken)
	if err != nil {
		t.Fatal(err)
	}
	if out.State() != factory.Partial || !errors.Is(out.Errors["b"], cause) || !errors.Is(out.Errors["d"], factory.ErrInvalid) || len(out.Errors) != 2 {
		t.Errorf("state %s, errors %v", out.State(), out.Errors)
	}
	if len(p.tags) != 1 || p.tags["registry.example/a:20261123-1a2b3c4d-dev"] == "" {
		t.Errorf("published %v", p.tags)
	}
	if !strings.HasPrefix(out.Verdict(), "1 released (a), 1 kept (c), 2 failed (b, d); slowest step: ") {
		t.Errorf("verdict %q", out.Verdict())
	}
	// Property e: keeping is a result with a reason, recorded like any other.
	var recorded []string
	for _, j := range p.jobs {
		recorded = append(recorded, j.Image+" "+string(j.Action)+" "+j.Reason)
	}
	slices.Sort(recorded)
	want := []string{"a rebuild first release", "b rebuild first release", "c keep nothing changed", "d fail its definition is not valid"}
	if !reflect.DeepEqual(recorded, want) {
		t.Errorf("journal %q", recorded)
	}
	if err := out.Err(); !strings.Contains(err.Error(), "build b: archive down") {
		t.Errorf("error %v", err)
	}
}

func TestStates(t *testing.T) {
	p := newPlant()
	out, err := p.run(t)
	if err != nil || out.State() != factory.Succeeded || out.Verdict() != "no images" || out.Err() != nil {
		t.Errorf("empty night: %v %v", out, err)
	}
	p.fail["test a"] = factory.ErrBlocked
	out, _ = p.run(t, job("a"))
	if out.State() != factory.Broken || !errors.Is(out.Err(), factory.ErrBlocked) {
		t.Errorf("all failed: %s %v", out.State(), out.Err())
	}
	failed := factory.Job{Image: factory.Image{Name: "x"}, Action: factory.Fail, Reason: "no lock"}
	out, _ = p.run(t, failed)
	if err := out.Err(); err == nil || err.Error() != "no lock" {
		t.Errorf("a reason without an error: %v", err)
	}
}

// A wave begins when the one before it has ended.
func TestWavesFollowEachOther(t *testing.T) {
	p := newPlant()
	child, parent := job("a-child"), job("parent")
	child.Wave = 1
	if _, err := p.run(t, child, parent); err != nil {
		t.Fatal(err)
	}
	if recorded, began := slices.Index(p.acts, "record parent"), slices.Index(p.acts, "resolve a-child"); recorded < 0 || began < recorded {
		t.Errorf("the child began at %d, its parent ended at %d", began, recorded)
	}
}

// What cannot be journaled is an error of the night, and the work is done all the same.
func TestJournalThatCannotBeWritten(t *testing.T) {
	p := newPlant()
	full := errors.New("disk full")
	p.fail["save a"] = full
	out, err := p.run(t, job("a"), job("b"))
	if !errors.Is(err, full) || len(out.Jobs) != 2 || len(p.tags) != 2 {
		t.Errorf("error %v, %d jobs, tags %v", err, len(out.Jobs), p.tags)
	}
}

type panicky struct{}

func (panicky) Make(context.Context, string, factory.Job) (factory.Release, []factory.StepTime, error) {
	panic("index out of range")
}

// A bug in one image's making is that image's failure.
func TestPanicIsOneImagesFailure(t *testing.T) {
	p := newPlant()
	kept := job("b")
	kept.Action = factory.Keep
	out, err := pipeline.Night{Maker: panicky{}, Journal: p}.Run(t.Context(), "run", []factory.Job{job("a"), kept})
	if err != nil || out.State() != factory.Partial || !strings.Contains(out.Errors["a"].Error(), "index out of range") {
		t.Errorf("outcome %v %v", out, err)
	}
}

// After a cancellation no further image is begun, and the journal still says so.
func TestCancelledNight(t *testing.T) {
	p := newPlant()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errKilled)
	out, err := pipeline.Night{Maker: p.line(), Journal: p}.Run(ctx, "run", []factory.Job{job("a"), job("b")})
	if !errors.Is(err, errKilled) || len(out.Jobs) != 2 || len(p.acts) != 0 || len(p.jobs) != 2 {
		t.Errorf("error %v, jobs %v, acts %v", err, out.Jobs, p.acts)
	}
}

// An image that is not set up is told of, and counts neither as fine nor as failed.
func TestSkipped(t *testing.T) {
	p := newPlant()
	skipped := job("b")
	skipped.Action, skipped.Reason = factory.Skip, "not set up here: no archive"
	var said []string
	night := pipeline.Night{Maker: panicky{}, Journal: p, Events: func(e factory.Event) { said = append(said, e.Message) }}
	out, err := night.Run(t.Context(), "run", []factory.Job{job("a"), skipped})
	if err != nil || out.State() != factory.Broken {
		t.Errorf("state %s, error %v", out.State(), err)
	}
	if want := "1 failed (a), 1 not set up (b)"; out.Verdict() != want {
		t.Errorf("verdict %q, want %q", out.Verdict(), want)
	}
	if !slices.Contains(said, "skipped: not set up here: no archive") || len(p.jobs) != 2 {
		t.Errorf("said %q, journal %v", said, p.jobs)
	}
	if out, err = night.Run(t.Context(), "run", []factory.Job{skipped}); err != nil || out.State() != factory.Succeeded {
		t.Errorf("alone: state %s, error %v", out.State(), err)
	}
}

type rescans map[string]error

func (r rescans) Rescan(_ context.Context, j factory.Job) (found, barred string, err error) {
	if err = r[j.Image.Name]; errors.Is(err, factory.ErrBlocked) {
		return "rescanned: 2 findings", err.Error(), nil
	}
	return "rescanned: 2 findings", "", err
}

// A rescan keeps the image and says what it found; one that fails is its image's failure only.
func TestRescan(t *testing.T) {
	p := newPlant()
	again, broken := job("a"), job("b")
	again.Action, again.Reason = factory.Rescan, "nothing changed"
	broken.Action, broken.Reason = factory.Rescan, "nothing changed"
	cause := &factory.Problem{Kind: factory.ErrUnverified, What: "the database is damaged"}
	night := pipeline.Night{Maker: p.line(), Journal: p, Rescanner: rescans{"b": cause}}
	out, err := night.Run(t.Context(), "run", []factory.Job{again, broken})
	if err != nil || out.State() != factory.Partial {
		t.Fatalf("%v, %s", err, out.State())
	}
	if out.Verdict() != "1 kept (a), 1 failed (b)" || out.Jobs[0].Reason != "nothing changed; rescanned: 2 findings" {
		t.Errorf("verdict %q, jobs %+v", out.Verdict(), out.Jobs)
	}
	if !errors.Is(out.Err(), factory.ErrUnverified) || !strings.Contains(out.Err().Error(), "scan b: the database is damaged") || len(p.acts) != 0 {
		t.Errorf("error %v, acts %v", out.Err(), p.acts)
	}
}

// Whoever needs the factory now gets it between two images: what is being made is finished, nothing else is begun, and all of it is
// recorded with the reason.
func TestNightYields(t *testing.T) {
	p := newPlant()
	n := pipeline.Night{Maker: p.line(), Journal: p}
	asked := 0
	n.Yield = func(context.Context) string {
		if asked++; asked > 1 {
			return "emergency CVE-2026-1"
		}
		return ""
	}
	kept, broken := job("d"), job("e")
	kept.Action, kept.Reason = factory.Keep, "nothing changed"
	broken.Action, broken.Err = factory.Fail, factory.ErrInvalid
	out, err := n.Run(t.Context(), "run-1", []factory.Job{job("a"), job("b"), job("c"), kept})
	if err != nil || out.Yielded != "emergency CVE-2026-1" || asked != 2 {
		t.Fatalf("%+v, %v, asked %d times", out, err, asked)
	}
	if out.State() != factory.Partial || out.Err() != nil || len(p.tags) != 1 || len(p.jobs) != 4 {
		t.Errorf("%s, %v, tags %v, %d jobs", out.State(), out.Err(), p.tags, len(p.jobs))
	}
	if j := out.Jobs[1]; j.Action != factory.Yield || j.Reason != "yielded to emergency CVE-2026-1; rebuild: first release" {
		t.Errorf("%+v", j)
	}
	v := out.Verdict()
	if !strings.HasPrefix(v, "1 released (a), 1 kept (d), 2 left to the next run (b, c); yielded to emergency CVE-2026-1; slowest step: ") {
		t.Errorf("verdict %q", v)
	}
	n.Yield = func(context.Context) string { return "emergency" }
	if out, err = n.Run(t.Context(), "run-2", []factory.Job{broken, kept}); err != nil || out.Yielded != "" || out.State() != factory.Partial {
		t.Errorf("nothing to yield: %+v, %v", out, err)
	}
	if out, err = n.Run(t.Context(), "run-3", []factory.Job{broken, job("a")}); err != nil || out.State() != factory.Partial || !errors.Is(out.Err(), factory.ErrInvalid) {
		t.Errorf("%+v, %v", out, err)
	}
}

func child(name, from string, wave int) factory.Job {
	j := job(name)
	j.Image.From, j.Wave = from, wave
	return j
}

// Property d, the other half: what fails holds back all that is built on it, and that is no failure of theirs.
func TestFailureHoldsBackDescendants(t *testing.T) {
	p := newPlant()
	p.fail["build a"] = &factory.Problem{Kind: factory.ErrUnavailable, What: "archive down"}
	out, err := p.run(t, child("c", "b", 2), child("b", "a", 1), job("a"), job("d"), child("e", "d", 1), child("f", "elsewhere", 1))
	if err != nil || out.State() != factory.Partial || len(out.Errors) != 1 || len(p.tags) != 3 {
		t.Fatalf("%v %s %v %v", err, out.State(), out.Errors, p.tags)
	}
	if !strings.HasPrefix(out.Verdict(), "3 released (d, e, f), 1 failed (a), 2 held back (b, c); ") {
		t.Error(out.Verdict())
	}
	held := out.Held()
	if len(held) != 2 || held[0].Reason != "a, which it is built on, failed: build a: archive down" || held[1].Reason != "b, which it is built on, is held back itself" || held[0].Error != "" || held[0].Basis != "" {
		t.Errorf("%+v", held)
	}
	p = newPlant()
	p.fail["build a"] = factory.ErrUnavailable
	if out, _ = p.run(t, job("a"), child("b", "a", 1)); out.State() != factory.Broken {
		t.Errorf("nothing came of it, and the state is %s", out.State())
	}
	paused := child("b", "a", 1)
	paused.Action, paused.Reason = factory.Hold, "its last try failed"
	if out, _ = newPlant().run(t, paused); out.State() != factory.Partial || out.Err() != nil || out.Verdict() != "1 held back (b)" {
		t.Errorf("%s %v %s", out.State(), out.Err(), out.Verdict())
	}
}

// A child is decided about again when what it is built on was made.
func TestDecidedAgain(t *testing.T) {
	p := newPlant()
	n := pipeline.Night{Maker: p.line(), Journal: p}
	var asked []string
	n.Again = func(_ context.Context, j factory.Job) factory.Job {
		asked = append(asked, j.Image.Name)
		if j.Image.Name == "b" {
			j.Action, j.Reason = factory.Keep, "nothing changed"
		} else {
			j.Parent = &factory.Base{Image: "a", Digest: "sha256:p"}
		}
		return j
	}
	kept, unread := job("z"), child("y", "a", 1)
	kept.Action = factory.Keep
	unread.Action, unread.Reason = factory.Fail, "no lock"
	out, err := n.Run(t.Context(), "run", []factory.Job{job("a"), child("b", "a", 1), child("c", "a", 1), child("d", "b", 2), kept, child("x", "z", 1), unread})
	if err != nil || !slices.Equal(asked, []string{"b", "c"}) {
		t.Fatalf("asked about %v, %v", asked, err)
	}
	if !strings.HasPrefix(out.Verdict(), "4 released (a, c, d, x), 2 kept (b, z), 1 failed (y)") {
		t.Error(out.Verdict())
	}
	for _, r := range p.releases {
		if (r.Parent != nil) != (r.Image == "c") {
			t.Errorf("%s is built on %+v", r.Image, r.Parent)
		}
	}
}

// What yields leaves its children to the next run too.
func TestYieldLeavesChildren(t *testing.T) {
	p := newPlant()
	n := pipeline.Night{Maker: p.line(), Journal: p, Yield: func(context.Context) string { return "emergency" }}
	kept := child("c", "a", 1)
	kept.Action = factory.Keep
	out, err := n.Run(t.Context(), "run", []factory.Job{job("a"), child("b", "a", 1), kept})
	if err != nil || len(p.tags) != 0 || !strings.HasPrefix(out.Verdict(), "1 kept (c), 2 left to the next run (a, b); yielded to emergency") {
		t.Errorf("%v %s", err, out.Verdict())
	}
	if j := out.Jobs[1]; j.Reason != "a, which it is built on, is left to the next run; rebuild: first release" {
		t.Errorf("%+v", j)
	}
}
