package pipeline_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

// What a child is built on is its parent's release. That stays what it is when it cannot be looked at again; one that nobody may use
// holds back what would be built on it, and nothing that is kept.
func TestKeptParent(t *testing.T) {
	kept := func(action factory.Action, err error, barred string) factory.Job {
		j := job("a")
		j.Action, j.Reason, j.Err, j.Barred = action, "nothing changed", err, barred
		return j
	}
	cause := &factory.Problem{Kind: factory.ErrUnavailable, What: "no vulnerability data"}
	for _, c := range []struct {
		name   string
		parent factory.Job
		rescan error
		want   string
	}{
		{"its rescan fails", kept(factory.Rescan, nil, ""), cause, "2 released (b, c), 1 kept (d), 1 failed (a); "},
		{"it cannot be rescanned", kept(factory.Rescan, cause, ""), nil, "2 released (b, c), 1 kept (d), 1 failed (a); "},
		{"all is well", kept(factory.Rescan, nil, ""), nil, "2 released (b, c), 2 kept (a, d); "},
		{"revoked", kept(factory.Keep, nil, "a 1 is revoked: it is bad"), nil, "2 kept (a, d), 2 held back (b, c)"},
		{"the gate says no", kept(factory.Rescan, nil, ""), &factory.Problem{Kind: factory.ErrBlocked, What: "CVE-2026-1 is late"}, "2 kept (a, d), 2 held back (b, c)"},
	} {
		p, d := newPlant(), child("d", "a", 1)
		d.Action = factory.Keep
		night := pipeline.Night{Maker: p.line(), Journal: p, Rescanner: rescans{"a": c.rescan}}
		out, err := night.Run(t.Context(), "run", []factory.Job{c.parent, child("b", "a", 1), child("c", "b", 2), d})
		if err != nil || !strings.HasPrefix(out.Verdict(), c.want) {
			t.Errorf("%s: %s, %v; want %s", c.name, out.Verdict(), err, c.want)
		}
		if held := out.Held(); len(held) > 0 && !strings.HasPrefix(held[0].Reason, "a, which it is built on, is not to be built on: ") {
			t.Errorf("%s: %s", c.name, held[0].Reason)
		}
	}
}

// A failure of its own is told beside what became of the parent.
func TestBothFail(t *testing.T) {
	p, b := newPlant(), child("b", "a", 1)
	p.fail["build a"] = factory.ErrBlocked
	own := errors.New("lock b: there is no python4")
	b.Action, b.Reason, b.Err = factory.Fail, own.Error(), own
	out, err := p.run(t, job("a"), b, child("c", "b", 2))
	if err != nil || !strings.HasPrefix(out.Verdict(), "2 failed (a, b), 1 held back (c)") || !errors.Is(out.Err(), own) {
		t.Fatalf("%s, %v", out.Verdict(), err)
	}
	if got := out.Jobs[1]; got.Action != factory.Fail || got.Error != own.Error() || got.Reason != own.Error()+"; and a, which it is built on, failed: build a: blocked" {
		t.Errorf("%+v", got)
	}
}

// What a try was made from is kept only when it says something about the image.
func TestOutagesAreNoFailureOfTheImage(t *testing.T) {
	down := &factory.Problem{Kind: factory.ErrUnavailable, What: "registry down"}
	for name, c := range map[string]struct {
		fail    map[string]error
		outages bool
	}{
		"a test":                  {map[string]error{"test a": factory.ErrBlocked}, false},
		"the registry":            {map[string]error{"push a": down}, true},
		"a full disk":             {map[string]error{"pack a": &factory.Problem{What: "work folder", Cause: syscall.ENOSPC}}, true},
		"two at once":             {map[string]error{"test a": down, "scan a": down}, true},
		"a test, and the scanner": {map[string]error{"test a": factory.ErrBlocked, "scan a": down}, false},
	} {
		p, a := newPlant(), job("a")
		a.Source.Inputs = "sha256:i"
		p.fail = c.fail
		out, err := p.run(t, a)
		if err != nil || out.Err() == nil || (out.Jobs[0].Basis == "") != c.outages {
			t.Errorf("%s: %+v, %v", name, out.Jobs, err)
		}
	}
}
