package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
)

// How long an emergency that waits for a fix pauses before it asks again.
const (
	firstPause   = time.Minute
	longestPause = 15 * time.Minute
)

// forEver is how long --wait without a duration waits.
const forEver = "3650d"

// emergencyOptions say what the emergency is, and how far to go.
type emergencyOptions struct {
	ID, Package  string
	Env          factory.Env // up to which the fix is promoted; the one that releases begin in = not at all
	Commit, Push bool
	DryRun       bool
	Wait         time.Duration // for a fix; 0 = not at all
}

var vulnerabilityID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*-[A-Za-z0-9.:_-]{1,80}$`)

func newEmergency(mk maker) *cobra.Command {
	var o emergencyOptions
	var env, wait, cause string
	c := &cobra.Command{
		Use: "emergency ID", Short: "a vulnerability is out: who has it, is there a fix; rebuild, promote and prove", Args: cobra.ExactArgs(1),
		Long: `emergency gets the newest vulnerability data, looks the SBOMs of everything in force up in it, and locks what is affected in memory to see
whether the archives have the fix. Then it locks and rebuilds exactly the affected images through the whole pipeline, promotes them
through the gates up to --env where a release in force there is affected, and prints the proof. What an image is built on comes before
it, and is rebuilt too where it was locked anew. A night that runs meanwhile yields.

With --package it works for a vulnerability that no data knows yet: a release is affected when the archive offers a newer version of
that package than it holds.

` + exitHelp,
		Example: "  factory emergency CVE-2026-1234 --dry-run\n  factory emergency CVE-2026-1234 --env prod --commit --push\n  factory emergency CVE-2026-1234 --package openssl --wait=24h",
	}
	envFlag(c, &env, "promote up to this environment (default: no promotion)")
	c.Flags().StringVar(&o.Package, "package", "", "only this package, binary or source; needed for what no data knows")
	c.Flags().BoolVar(&o.Commit, "commit", false, "commit each changed lock on its own")
	c.Flags().BoolVar(&o.Push, "push", false, "push these commits (needs --commit)")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only answer the question: who is affected, and is there a fix")
	causeFlag(c, &cause)
	c.Flags().StringVar(&wait, "wait", "", "while there is no fix ask again, for so long (default without a value: until there is one)")
	c.Flags().Lookup("wait").NoOptDefVal = forEver
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if err := errors.Join(o.read(args[0], env, wait, c.cfg.Env), c.because(cause)); err != nil {
			return err
		}
		return (&emergency{command: c, emergencyOptions: o, done: map[string]bool{}}).run(ctx)
	})
}

// read checks what was typed.
func (o *emergencyOptions) read(id, env, wait string, begin factory.Env) (err error) {
	bad := func(what, hint string) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: what, Hint: hint}
	}
	if o.ID = id; strings.HasPrefix(strings.ToLower(id), "cve-") {
		o.ID = strings.ToUpper(id)
	}
	if !vulnerabilityID.MatchString(o.ID) {
		return bad(fmt.Sprintf("%.40q is no id of a vulnerability", id), "expected one such as CVE-2026-1234")
	}
	if o.Env = begin; env != "" {
		if o.Env, err = factory.ParseEnv(env); err != nil {
			return err
		}
	}
	if wait != "" {
		if o.Wait, err = parseAge(wait); err != nil {
			return bad(fmt.Sprintf("--wait=%.20q", wait), "expected a time such as --wait=12h or --wait=3d")
		}
	}
	switch {
	case o.DryRun && o.Commit:
		return bad("--dry-run changes nothing, so it cannot commit or push", "leave out one of them")
	case o.Push && !o.Commit:
		return bad("--push without --commit", "add --commit")
	}
	return nil
}

// emergency is one from the question to the proof.
type emergency struct {
	*command
	emergencyOptions
	told   answer
	asked  map[string]lockResult // what the archives offered when they were asked last
	proofs []proof
	done   map[string]bool // images that were dealt with, well or not
	errs   []error         // what went wrong with them
	phases []phase
}

// phase is how long a part of the work took.
type phase struct {
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"`
}

// timed does something and notes how long it took, together with the times before.
func (e *emergency) timed(name string, f func() error) error {
	began := e.w.Now()
	err := f()
	took := e.w.Now().Sub(began).Seconds()
	for i := range e.phases {
		if e.phases[i].Phase == name {
			e.phases[i].Seconds += took
			return err
		}
	}
	e.phases = append(e.phases, phase{name, took})
	return err
}

// run asks and acts until nothing is left to wait for.
func (e *emergency) run(ctx context.Context) error {
	var until time.Time
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if err := e.ask(ctx); err != nil {
			if e.JSON && e.told.Vulnerability != "" && ctx.Err() == nil {
				return errors.Join(err, e.printJSON(e.document()))
			}
			return err
		}
		if images := e.ready(); len(images) > 0 && !e.DryRun {
			if err := e.act(ctx, images); err != nil {
				e.errs = append(e.errs, err)
			}
		}
		if until.IsZero() {
			until = e.w.Now().Add(e.Wait)
		}
		left := until.Sub(e.w.Now())
		if ctx.Err() != nil || left <= 0 || len(e.waiting()) == 0 {
			break
		}
		e.events.Emit(factory.Event{Kind: factory.Warned, Message: fmt.Sprintf("no fix of %s yet for %s; asking again in %s", e.ID, strings.Join(e.waiting(), ", "), min(pause, left).Round(time.Second))})
		select {
		case <-ctx.Done():
		case <-time.After(min(pause, left)):
		}
		if ctx.Err() != nil {
			break
		}
		e.forgetData()
	}
	if ctx.Err() != nil {
		return errors.Join(append([]error{context.Cause(ctx)}, e.errs...)...)
	}
	return errors.Join(e.ended(), e.print())
}

// ended is the error that the whole ends with: what went wrong with images, and those that there is no fix for.
func (e *emergency) ended() error {
	errs := append([]error{}, e.errs...)
	errs = append(errs, e.told.errs...)
	missing := e.waiting()
	for _, image := range missing {
		errs = append(errs, e.noFix(image))
	}
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	fine := len(e.ready()) > 0
	for _, p := range e.proofs {
		fine = fine || p.Error == ""
	}
	if len(e.told.Affected) == 0 {
		fine = e.told.Releases > 0
	}
	if fine {
		return errors.Join(errPartial, err)
	}
	return err
}

// noFix says of an image what is known of the fix that is not there.
func (e *emergency) noFix(image string) error {
	for _, s := range e.told.Affected {
		if s.Image == image && s.err != nil {
			return s.err
		}
	}
	p := &factory.Problem{Kind: factory.ErrBlocked, Hint: "wait for it: factory emergency " + e.ID + " --wait"}
	if e.Package != "" {
		p.Hint = "wait for it: factory emergency " + e.ID + " --package " + e.Package + " --wait"
	}
	for _, s := range e.told.Affected {
		if s.Image == image && !s.Fix {
			p.What = fmt.Sprintf("no fix of %s in the archive yet for %s: %s; %s, archive asked at %s", e.ID, image, s.Why, e.told.Database, e.told.Asked.Format("2006-01-02 15:04 UTC"))
			break
		}
	}
	return p
}
