package pipeline_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

var order = []string{"resolve", "build", "harden", "pack", "test", "sign", "push", "attach", "verify", "tag", "record"}

func acts(image string) (all []string) {
	for _, verb := range order {
		all = append(all, verb+" "+image)
	}
	return all
}

func TestMakeReleasesInOrder(t *testing.T) {
	p := newPlant()
	var events []factory.Event
	line := p.line()
	line.Events = func(e factory.Event) { events = append(events, e) }
	r, times, err := line.Make(t.Context(), "run", job("debian-12"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p.acts, acts("debian-12")) {
		t.Errorf("acts %v, want %v", p.acts, acts("debian-12"))
	}
	if r.Tagged() != "registry.example/debian-12:20261123-1a2b3c4d-dev" || r.Run != "run" || r.Owner != "t" || string(r.Inputs) != "inputs of debian-12" {
		t.Errorf("release %+v", r)
	}
	if len(r.Controls) != 1 || len(r.Tests) != 1 || len(r.Signatures) != 1 {
		t.Errorf("the release lost evidence: %+v", r)
	}
	if len(times) != 8 || times[0].Step != factory.StepResolve || times[7].Step != factory.StepRecord || times[1].Seconds <= 0 {
		t.Errorf("times %v", times)
	}
	if len(events) != 16 || events[0].Kind != factory.Began || events[15].Kind != factory.Finished {
		t.Errorf("%d events", len(events))
	}
	if !reflect.DeepEqual(p.cleaned, []string{"layout of debian-12"}) {
		t.Errorf("cleaned %v", p.cleaned)
	}
}

// Property a: nothing before the tag is visible, whichever act fails.
func TestNothingIsVisibleBeforeTheTag(t *testing.T) {
	for _, verb := range order[:10] {
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
			if last := p.acts[len(p.acts)-1]; last != verb+" debian-12" {
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
