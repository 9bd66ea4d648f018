package pipeline_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

var order = []string{"resolve", "build", "harden", "pack", "prove", "scan", "test", "gate", "sign", "push", "attach", "verify", "tag", "record"}

// beside are the acts that happen at once; whoever compares sorts them.
var beside = []string{"prove", "scan", "test"}

func acts(image string) (all []string) {
	for _, verb := range order {
		all = append(all, verb+" "+image)
	}
	return all
}

func TestMakeReleasesInOrder(t *testing.T) {
	p := newPlant()
	var events []factory.Event
	var mu sync.Mutex
	line := p.line()
	line.Events = func(e factory.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	r, times, err := line.Make(t.Context(), "run", job("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.acts[4:7])
	if !reflect.DeepEqual(p.acts, acts("debian-12")) {
		t.Errorf("acts %v, want %v", p.acts, acts("debian-12"))
	}
	if r.Tagged() != "registry.example/debian-12:20261123-1a2b3c4d-dev" || r.Run != "run" || r.Owner != "t" || string(r.Inputs) != "inputs of debian-12" {
		t.Errorf("release %+v", r)
	}
	if len(r.Controls) != 1 || len(r.Tests) != 1 || len(r.Signatures) != 1 || len(r.Compliance.Evaluations) != 1 || r.Scan.Packages != 1 || !r.Decision.Pass || len(r.Documents) != 3 {
		t.Errorf("the release lost evidence: %+v", r)
	}
	if len(times) != 11 || times[0].Step != factory.StepResolve || times[10].Step != factory.StepRecord || times[1].Seconds <= 0 {
		t.Errorf("times %v", times)
	}
	if len(events) != 22 || events[0].Kind != factory.Began || events[21].Kind != factory.Finished {
		t.Errorf("%d events", len(events))
	}
	if !reflect.DeepEqual(p.cleaned, []string{"layout of debian-12"}) {
		t.Errorf("cleaned %v", p.cleaned)
	}
}

// Property a: nothing before the tag is visible, whichever act fails.
func TestNothingIsVisibleBeforeTheTag(t *testing.T) {
	for _, verb := range order[:len(order)-1] {
		t.Run(verb, func(t *testing.T) {
			p := newPlant()
			cause := errors.New("it broke")
			p.fail[verb+" debian-12"] = cause
			_, times, err := p.line().Make(t.Context(), "run", job("debian-12"))
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), "debian-12: it broke") {
				t.Errorf("error %v", err)
			}
			if len(p.tags) != 0 || len(p.releases) != 0 {
				t.Errorf("visible after a failed %s: %v %v", verb, p.tags, p.releases)
			}
			if last := strings.TrimSuffix(p.acts[len(p.acts)-1], " debian-12"); last != verb && !(slices.Contains(beside, verb) && slices.Contains(beside, last)) {
				t.Errorf("went on to %s", last)
			}
			if len(times) == 0 {
				t.Error("the times of the steps that ran are lost")
			}
		})
	}
}

// Property b: killed in any act, there is either no tag or the right one, and the next run completes the work.
func TestNextRunCompletesWhatAKilledOneBegan(t *testing.T) {
	for _, verb := range order {
		t.Run(verb, func(t *testing.T) {
			p := newPlant()
			p.die = verb + " debian-12"
			if _, err := p.run(t, job("debian-12")); !errors.Is(err, errKilled) {
				t.Fatalf("error %v", err)
			}
			if len(p.releases) != 0 {
				t.Fatal("a killed run recorded a release")
			}
			p.die = ""
			out, err := p.run(t, job("debian-12"))
			if err != nil || out.State() != factory.Succeeded {
				t.Fatalf("second run: %v %v", out, err)
			}
			want := map[string]factory.Digest{"registry.example/debian-12:20261123-1a2b3c4d-dev": factory.DigestOf([]byte("debian-12"))}
			if !reflect.DeepEqual(p.published(), want) || len(p.releases) != 1 {
				t.Errorf("published %v, %d releases", p.tags, len(p.releases))
			}
		})
	}
}

// Property a: a different digest under an existing tag is refused.
func TestTagNeverMoves(t *testing.T) {
	p := newPlant()
	if _, err := p.run(t, job("debian-12")); err != nil {
		t.Fatal(err)
	}
	before := p.published()
	p.content["debian-12"] = "something else"
	out, err := p.run(t, job("debian-12"))
	if err != nil || !errors.Is(out.Err(), factory.ErrConflict) {
		t.Fatalf("outcome %v, %v", out.Err(), err)
	}
	if !reflect.DeepEqual(p.published(), before) || len(p.releases) != 1 {
		t.Errorf("the tag moved: %v", p.tags)
	}
}

func TestRefreshMustGiveTheSameDigest(t *testing.T) {
	same, other := job("debian-12"), job("debian-12")
	same.Refresh = factory.DigestOf([]byte("debian-12"))
	other.Refresh = factory.DigestOf([]byte("what it was"))
	if _, _, err := newPlant().line().Make(t.Context(), "run", same); err != nil {
		t.Errorf("equal digest: %v", err)
	}
	p := newPlant()
	_, _, err := p.line().Make(t.Context(), "run", other)
	if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "factory reproduce debian-12") {
		t.Errorf("other digest: %v", err)
	}
	if len(p.tags) != 0 || !reflect.DeepEqual(p.cleaned, []string{"layout of debian-12"}) {
		t.Errorf("published %v, cleaned %v", p.tags, p.cleaned)
	}
}

// A step that ends well after its context was cancelled is not believed.
func TestCancelledWorkIsNotBelieved(t *testing.T) {
	p := newPlant()
	ctx, cancel := context.WithCancelCause(t.Context())
	line := p.line()
	line.Builder = builderFunc(func(ctx context.Context, l factory.Locked) (factory.Built, error) {
		cancel(errKilled)
		return factory.Built{Locked: l}, nil
	})
	if _, _, err := line.Make(ctx, "run", job("debian-12")); !errors.Is(err, errKilled) {
		t.Errorf("error %v", err)
	}
	if len(p.tags) != 0 {
		t.Errorf("published %v", p.tags)
	}
}

type builderFunc func(context.Context, factory.Locked) (factory.Built, error)

func (f builderFunc) Build(ctx context.Context, l factory.Locked) (factory.Built, error) {
	return f(ctx, l)
}

var _ pipeline.Builder = builderFunc(nil)

// What the gate does not let pass is neither signed nor pushed, and every reason is told.
func TestGateBlocks(t *testing.T) {
	p := newPlant()
	p.findings = []factory.Finding{{Vulnerability: "CVE-2026-1", Package: "openssl"}, {Vulnerability: "CVE-2026-2", Package: "zlib1g"}}
	_, _, err := p.line().Make(t.Context(), "run", job("debian-12"))
	if !errors.Is(err, factory.ErrBlocked) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"gate debian-12: ", "debian-12 is not let into dev: CVE-2026-1 openssl is 1 day late (factory build --lock)", "CVE-2026-2 zlib1g"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	if last := p.acts[len(p.acts)-1]; last != "gate debian-12" || len(p.blobs) != 0 || len(p.releases) != 0 {
		t.Errorf("last act %s, blobs %v", last, p.blobs)
	}
}

// A decision that blocks without a reason blocks all the same, and so does one that passes and is about something else.
func TestDecisionsThatAreNone(t *testing.T) {
	if err := pipeline.Blocked(factory.Decision{Image: "debian-12", Env: factory.Prod}); !errors.Is(err, factory.ErrBlocked) || !strings.Contains(err.Error(), "nobody says why") {
		t.Errorf("error %v", err)
	}
	if err := pipeline.Blocked(factory.Decision{Pass: true}); err != nil {
		t.Errorf("error %v", err)
	}
	p := newPlant()
	line := p.line()
	line.Gate = gateFunc(func(e factory.Evidence) factory.Decision {
		return factory.Decision{Image: e.Image.Name, Env: e.Env, Digest: factory.DigestOf([]byte("another")), Pass: true}
	})
	if _, _, err := line.Make(t.Context(), "run", job("debian-12")); !errors.Is(err, factory.ErrBlocked) || len(p.blobs) != 0 {
		t.Errorf("error %v, blobs %v", err, p.blobs)
	}
}

type gateFunc func(factory.Evidence) factory.Decision

func (f gateFunc) Decide(_ context.Context, e factory.Evidence) (factory.Decision, []factory.Document, error) {
	return f(e), nil, nil
}

// Of three examinations that go wrong, each is told.
func TestEveryExaminationIsTold(t *testing.T) {
	p := newPlant()
	p.fail["test a"], p.fail["prove a"], p.panics = errors.New("no shell"), errors.New("no content"), "a"
	_, times, err := p.line().Make(t.Context(), "run", job("a"))
	for _, want := range []string{"test a: no shell", "prove a: no content", "scan a: the factory itself failed: index out of range"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	if len(times) != 7 {
		t.Errorf("times %v", times)
	}
}

// The release that stands is the first of its digest and tag.
func TestSecondMakingReturnsTheFirstRelease(t *testing.T) {
	p := newPlant()
	first, _, err := p.line().Make(t.Context(), "run", job("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := p.line().Make(t.Context(), "another run", job("debian-12"))
	if err != nil || again.ID != first.ID || len(p.releases) != 1 {
		t.Errorf("%v, ids %s and %s", err, first.ID, again.ID)
	}
}
