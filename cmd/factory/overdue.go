package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

// nightsToLookAt is how many runs back a night is looked for. What is older is long overdue.
const nightsToLookAt = 1000

// overdue is an image that no night has looked at for too long.
type overdue struct {
	Image string      `json:"image"`
	Env   factory.Env `json:"env"`
	// Looked is when the last night began that rebuilt, kept or rescanned it; nil when none did.
	Looked *time.Time `json:"looked,omitempty"`
	Why    string     `json:"why"`
}

// look is what nights did with one image.
type look struct {
	well   time.Time // when the newest night began that rebuilt, kept or rescanned it
	unsaid bool      // that night noted no environment
	failed *factory.RunJob
	at     time.Time // when the night began that failed with it
}

// overdue notes the images that are in force in the environment, or nowhere yet, and that no night of it has looked at with success for
// so long; and of the others, for which a night counted that noted no environment. Images that are not set up here are none of a
// night's business.
func (c *command) overdue(ctx context.Context, set definition.Set, v *view, age time.Duration) error {
	unset, err := c.unset(ctx, set, nil)
	if err != nil {
		return err
	}
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	runs, err := db.Runs(ctx, nightsToLookAt)
	if err != nil {
		return err
	}
	nights := looks(runs, v.At, v.homes(c.cfg.Env))
	v.Overdue = []overdue{}
	for _, name := range v.expected(set, c.cfg.Env) {
		l := nights[name]
		if unset[name] != "" {
			continue
		}
		if !l.well.IsZero() && v.At.Sub(l.well) <= age {
			if l.unsaid {
				v.Unsaid = append(v.Unsaid, name)
			}
			continue
		}
		o := overdue{Image: name, Env: c.cfg.Env, Why: l.why(v.At)}
		if !l.well.IsZero() {
			o.Looked = &l.well
		}
		v.Overdue = append(v.Overdue, o)
	}
	if len(v.Unsaid) > 0 {
		c.say("taken for a night of %s, because it did not note its environment: the last one of %s", c.cfg.Env, strings.Join(v.Unsaid, ", "))
	}
	return nil
}

// homes says of which environments a night counts for an image in env: of env itself, and of the one that it was promoted from.
// A night that noted none may have been any.
func (v view) homes(env factory.Env) func(image string, of factory.Env) bool {
	return func(image string, of factory.Env) bool {
		return of == "" || of == env ||
			slices.ContainsFunc(v.Images, func(i imageView) bool { return i.Image == image && i.Env == env && i.made == of })
	}
}

// looks reads what nights did that count, newest first. A night from the future says nothing: a clock moved.
func looks(runs []factory.Run, now time.Time, counts func(image string, of factory.Env) bool) map[string]look {
	all := map[string]look{}
	for _, r := range runs {
		if r.Command != "nightly" || r.Started.After(now) {
			continue
		}
		for _, j := range r.Jobs {
			l := all[j.Image]
			switch {
			case !l.well.IsZero() || j.Action == factory.Skip || j.Action == factory.Yield || !counts(j.Image, r.Env):
			case j.Error != "" || j.Action == factory.Fail || j.Action == factory.Hold: // who is held back was not looked at
				if l.failed == nil {
					l.failed, l.at = &j, r.Started
				}
			default:
				l.well, l.unsaid = r.Started, r.Env == ""
			}
			all[j.Image] = l
		}
	}
	return all
}

// expected are the images that a night must look at, for the environment.
func (v view) expected(set definition.Set, env factory.Env) []string {
	elsewhere, here := map[string]bool{}, map[string]bool{}
	for _, i := range v.Images {
		elsewhere[i.Image] = true
		here[i.Image] = here[i.Image] || i.Env == env
	}
	names := slices.Clone(set.Broken)
	for _, img := range set.Images {
		if img.Kind != factory.KindToolbox {
			names = append(names, img.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { return elsewhere[name] && !here[name] })
}

func (l look) why(now time.Time) string {
	text := "no night has ever looked at it with success"
	if !l.well.IsZero() {
		text = "the last night that looked at it with success was " + ago(now, l.well)
	}
	if l.unsaid {
		text += ", of which environment was not noted"
	}
	switch {
	case l.failed == nil:
	case l.failed.Action == factory.Hold:
		text += fmt.Sprintf("; the newest one, %s, held it back: %s", ago(now, l.at), firstLine(l.failed.Reason))
	default:
		text += fmt.Sprintf("; the newest one, %s, failed: %s", ago(now, l.at), firstLine(l.failed.Error))
	}
	return text
}

// lateError is one line for each image that is overdue, nil when none is.
func lateError(late []overdue, age string) error {
	if len(late) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("%s without a successful night within %s", count(len(late), "image"), age)}
	for _, o := range late {
		lines = append(lines, fmt.Sprintf("%s in %s: %s", o.Image, o.Env, o.Why))
	}
	return &factory.Problem{Kind: factory.ErrBlocked, What: strings.Join(lines, "\n"), Hint: "factory runs says how the nights ended, or that there was none"}
}
