package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/graph"
	"github.com/imagefactory/imagefactory/factory/store"
)

// runsToDraw is how many runs back it is looked what became of an image.
const runsToDraw = 30

// graphInput is what is known of each image: its releases, what is in force, and what the last run did with it.
func (c *command) graphInput(ctx context.Context, set definition.Set, o graphOptions) (graph.Input, error) {
	in := graph.Input{At: c.w.Now().UTC(), MaxAge: c.cfg.MaxAge, Images: set.Images, Broken: set.Broken, Behind: set.Behind, Facts: map[string]graph.Facts{},
		Outside: o.Outside, Dependents: set.Dependents}
	db, err := c.store(ctx)
	if err != nil {
		return in, err
	}
	heads, err := db.Heads(ctx)
	if err != nil {
		return in, err
	}
	for _, r := range heads { // newest first
		if f := in.Facts[r.Image]; f.Newest == nil {
			f.Newest = &graph.Release{ID: r.ID, Tag: r.Tag, Digest: r.Digest, Ref: r.Tagged(), Created: r.Created, Parent: r.Parent}
			in.Facts[r.Image] = f
		}
	}
	if o.Gate {
		err = c.judged(ctx, set, &in)
	} else {
		err = c.inForce(ctx, db, heads, &in)
	}
	if err != nil {
		return in, err
	}
	runs, err := db.Runs(ctx, runsToDraw)
	if err != nil {
		return in, err
	}
	lastLooks(&in, runs)
	if in.Observed, err = db.Observed(ctx, store.ObservedQuery{}); err != nil || !o.Outside {
		return in, err
	}
	in.Tags, err = tags(ctx, db)
	return in, err
}

// tags is what every release is called, by id.
func tags(ctx context.Context, db *store.Store) (map[string]factory.Tag, error) {
	all, err := db.Releases(ctx, store.Query{})
	byID := map[string]factory.Tag{}
	for _, r := range all {
		byID[r.ID] = r.Tag
	}
	return byID, err
}

// inForce notes what is in force, and since when there is a fix that it lacks.
func (c *command) inForce(ctx context.Context, db *store.Store, heads []factory.Release, in *graph.Input) error {
	entries, err := db.Standing(ctx)
	if err != nil {
		return err
	}
	made := map[string]time.Time{}
	for _, r := range heads {
		made[r.ID] = r.Created
	}
	for _, e := range entries {
		d := graph.Standing{Env: e.Env, Release: e.Release, Digest: e.Digest, Tag: e.Tag, Created: made[e.Release], Since: e.At}
		switch scan, err := db.LatestScan(ctx, e.Release); {
		case err != nil:
			return err
		case scan != nil:
			d.DriftHours = standing{Scan: *scan}.drift(in.At).Hours()
		}
		stand(in, e.Image, d)
	}
	in.LeftOut = append(in.LeftOut, "what the gate says today: --gate, or factory status")
	return nil
}

// judged notes what is in force, and what the gate says of it.
func (c *command) judged(ctx context.Context, set definition.Set, in *graph.Input) error {
	all, err := c.standings(ctx, set, "", "")
	for _, s := range all {
		v := s.view(in.At)
		d := graph.Standing{Env: s.Entry.Env, Release: s.Release.ID, Digest: s.Release.Digest, Tag: s.Entry.Tag, Created: s.Release.Created, Since: s.Entry.At, DriftHours: v.DriftHours}
		if !v.Pass {
			d.Breach = strings.TrimPrefix(v.gate(), "BREACH: ")
		}
		stand(in, s.Release.Image, d)
	}
	return err
}

func stand(in *graph.Input, image string, s graph.Standing) {
	f := in.Facts[image]
	f.InForce = append(f.InForce, s)
	in.Facts[image] = f
}

// lastLooks notes what the newest run did that looked at each image. One that left it to the next run did not.
func lastLooks(in *graph.Input, runs []factory.Run) {
	for _, r := range runs {
		for _, j := range r.Jobs {
			f := in.Facts[j.Image]
			if f.Last != nil || j.Action == factory.Yield {
				continue
			}
			f.Last = &graph.Look{Run: r.ID, At: r.Started, Action: j.Action, Reason: j.Reason, Error: j.Error}
			in.Facts[j.Image] = f
		}
	}
	if len(runs) == runsToDraw {
		in.LeftOut = append(in.LeftOut, fmt.Sprintf("what runs did before %s", factory.DateOf(runs[len(runs)-1].Started)))
	}
}
