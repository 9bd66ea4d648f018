package main

import (
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
)

// The last cell of a row is coloured where stdout shows colours and nobody forbade them. What is in a cell never is an escape.
func TestColours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		colors, forbidden bool
		want              string
	}{
		{true, false, "A      B\na\u00b7[1m  \x1b[31mbad\x1b[0m\nb      plain\n"},
		{true, true, "A      B\na\u00b7[1m  bad\nb      plain\n"},
		{false, false, "A      B\na\u00b7[1m  bad\nb      plain\n"},
	} {
		d := newDesk(t)
		if c.forbidden {
			d.env["NO_COLOR"] = ""
		}
		cmd := d.command(t, nil)
		cmd.w.Colors = c.colors
		must(t, cmd.painted([]string{"A", "B"}, [][]string{{"a\x1b[1m", "bad"}, {"b", "plain"}}, []string{red}))
		if got := d.stdout.String(); got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}

func TestLastLooks(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	runs := []factory.Run{
		{ID: "r3", Started: at, Jobs: []factory.RunJob{{Image: "a", Action: factory.Yield}, {Image: "b", Action: factory.Keep, Reason: "nothing changed"}}},
		{ID: "r2", Started: at.Add(-day), Jobs: []factory.RunJob{{Image: "a", Action: factory.Rebuild, Error: "test: no"}, {Image: "b", Action: factory.Fail}}},
	}
	in := graph.Input{Facts: map[string]graph.Facts{}}
	lastLooks(&in, runs)
	if a, b := in.Facts["a"].Last, in.Facts["b"].Last; a == nil || a.Run != "r2" || a.Error != "test: no" || b == nil || b.Run != "r3" || b.Action != factory.Keep || in.LeftOut != nil {
		t.Errorf("%+v %+v %q", a, b, in.LeftOut)
	}
	for len(runs) < runsToDraw {
		runs = append(runs, factory.Run{ID: "r1", Started: at.AddDate(0, 0, -9)})
	}
	lastLooks(&in, runs)
	if len(in.LeftOut) != 1 || in.LeftOut[0] != "what runs did before 2026-11-14" {
		t.Errorf("%q", in.LeftOut)
	}
}

// What a night could not do is in the graph, and so is what is in force elsewhere and older.
func TestGraphOfANight(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	old := d.release(t, "debian-12", 9*day)
	d.release(t, "debian-12", time.Hour)
	c := d.command(t, nil)
	db, err := c.store(t.Context())
	must(t, err)
	tag := old.Tag
	tag.Env = factory.Staging
	must(t, db.Promote(t.Context(), factory.Entry{ID: "e-1", Release: old.ID, Image: old.Image, Repository: old.Repository, Digest: old.Digest, Env: tag.Env, Tag: tag, At: d.Now().Add(-8 * day), By: "test"}))
	must(t, db.BeginRun(t.Context(), factory.Run{ID: "run-1", Command: "nightly", Started: d.Now().Add(-2 * time.Hour), Jobs: []factory.RunJob{{Image: "debian-13", Action: factory.Rebuild, Error: "build: disk full"}}}))
	for _, gate := range []bool{false, true} {
		g, err := c.graph(t.Context(), "", graphOptions{Gate: gate})
		must(t, err)
		base, _ := g.Node("debian-12")
		other, _ := g.Node("debian-13")
		if len(base.InForce) != 2 || base.InForce[1].Env != factory.Staging || base.InForce[1].Created != old.Created || base.InForce[1].Since != d.Now().Add(-8*day) || base.InForce[1].DriftHours < 24 || base.Release.Created != d.Now().Add(-time.Hour) {
			t.Errorf("gate %v: %+v", gate, base)
		}
		if breach := base.InForce[1].Breach != ""; breach != gate {
			t.Errorf("gate %v: %q", gate, base.InForce[1].Breach)
		}
		if other.State != graph.Failed || other.Marks[0].Text != "build: disk full" || other.LastRun.Run != "run-1" {
			t.Errorf("%+v", other)
		}
	}
	if code := d.run(t, "graph"); code != exitOK || !strings.Contains(d.stdout.String(), "dev staging (9 d)") || !strings.Contains(d.stdout.String(), "failed 2 h") {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
}
