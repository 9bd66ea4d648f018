package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

// envFlag adds --env, which says which environment's policy decides.
func envFlag(c *cobra.Command, env *string, text string) {
	// The setting of the same name is about new releases; this one shadows it here.
	c.Flags().StringVar(env, "env", "", text)
}

func newGate(mk maker) *cobra.Command {
	var env string
	c := &cobra.Command{
		Use: "gate REF", Short: "say whether a release may go into an environment, and every reason", Args: cobra.ExactArgs(1),
		Long: `gate judges a release by an environment's policy, with what is known now: its newest scan, today's waivers, today's date. It changes
nothing. It exits 3 when the release would be blocked.

` + exitHelp,
		Example: "  factory gate debian-12 --env prod\n  factory gate 20261123-1a2b3c4d-dev --env staging --json",
	}
	envFlag(c, &env, "environment whose policy decides (default: the release's own)")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		set, err := c.definitions()
		if err != nil {
			return err
		}
		r, err := c.release(ctx, args[0])
		if err != nil {
			return err
		}
		to := r.Tag.Env
		if env != "" {
			if to, err = factory.ParseEnv(env); err != nil {
				return err
			}
		}
		s, err := c.judge(ctx, set, r, to)
		if err != nil {
			return err
		}
		if err := c.printDecision(s); err != nil {
			return err
		}
		if !s.Decision.Pass {
			return &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s is not let into %s: %s", r.Tagged(), to, count(len(s.Decision.Blocking()), "blocking reason")),
				Hint: "the reasons say what to do about each"}
		}
		return nil
	})
}

// printDecision shows everything that was looked at, what blocks first.
func (c *command) printDecision(s standing) error {
	d := s.Decision
	if c.JSON {
		return c.printJSON(d)
	}
	verdict := "pass"
	if !d.Pass {
		verdict = "BLOCKED"
	}
	fmt.Fprintf(c.out(), "%s for %s: %s\npolicy %s, data: %s\n\n", s.Release.Tagged(), d.Env, verdict, d.Pack, d.Database)
	var text [][]string
	for _, r := range d.Reasons {
		mark := "ok"
		switch {
		case r.Blocks:
			mark = "BLOCKS"
		case !r.Deadline.IsZero():
			mark = "due"
		}
		text = append(text, []string{mark, r.Rule, r.Deadline.String(), r.Text, r.Hint})
	}
	return c.table([]string{"RESULT", "RULE", "DATE", "WHAT", "DO"}, text)
}

func newFindings(mk maker) *cobra.Command {
	var o findingOptions
	c := &cobra.Command{
		Use: "findings [IMAGE]", Short: "list known vulnerabilities of the releases in force, with their deadlines", Args: cobra.MaximumNArgs(1),
		Long: `findings lists what the newest scans found in the releases that are in force in an environment: severity, fix, since when it is known
and until when it must be gone. With --due it lists what will breach its deadline within that time, and exits 3 when something
has breached already.

` + exitHelp,
		Example: "  factory findings\n  factory findings debian-12 --env prod\n  factory findings --due 7d",
	}
	envFlag(c, &o.Env, "only this environment (default all)")
	c.Flags().StringVar(&o.Due, "due", "", "only what breaches its deadline within so many days, as in 7d; 0d = what has breached")
	c.Flags().StringVar(&o.Severity, "severity", "", "only this severity and worse; what nobody has weighed is always listed")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		return c.findings(ctx, strings.Join(args, ""), o)
	})
}

type findingOptions struct{ Env, Due, Severity string }

// finding is one line of the list.
type finding struct {
	factory.Finding
	Image    string        `json:"image"`
	Env      factory.Env   `json:"env"`
	Release  string        `json:"release"`
	Deadline factory.Date  `json:"deadline"`
	State    string        `json:"state"` // late, due, no fix yet, waived, no deadline
	Waiver   *factory.Date `json:"waivedUntil,omitempty"`
}

func (c *command) findings(ctx context.Context, image string, o findingOptions) error {
	set, err := c.definitions()
	if err != nil {
		return err
	}
	if image != "" {
		if _, err := set.Image(image); err != nil {
			return err
		}
	}
	var env factory.Env
	if o.Env != "" {
		if env, err = factory.ParseEnv(o.Env); err != nil {
			return err
		}
	}
	worse, err := factory.ParseSeverity(o.Severity)
	if err != nil {
		return err
	}
	days := 0
	if o.Due != "" {
		if days, err = gate.ParseDays(o.Due); err != nil {
			return fmt.Errorf("--due: %w", err)
		}
	}
	all, err := c.standings(ctx, set, image, env)
	if err != nil {
		return err
	}
	rows, late := []finding{}, 0
	for _, s := range all {
		due := gate.Due(s.Decision, days)
		for _, f := range s.findings() {
			soon := slices.ContainsFunc(due, func(r factory.Reason) bool { return r.Subject == f.Key() })
			if f.Severity != factory.Unknown && f.Severity.Compare(worse) < 0 || o.Due != "" && !soon {
				continue
			}
			if f.State == "late" {
				late++
			}
			rows = append(rows, f)
		}
	}
	if err := c.printFindings(all, rows); err != nil {
		return err
	}
	if o.Due != "" && late > 0 {
		return &factory.Problem{Kind: factory.ErrBlocked, What: count(late, "finding") + " past the deadline", Hint: "factory nightly, or factory build --lock IMAGE"}
	}
	return nil
}

// findings are a release's findings, each with what the decision says of it.
func (s standing) findings() []finding {
	var rows []finding
	for _, f := range s.Scan.Findings {
		row := finding{Finding: f, Image: s.Release.Image, Env: s.Evidence.Env, Release: s.Release.ID, State: "no deadline"}
		if f.Fixed == "" {
			row.State = "no fix yet"
		}
		for _, r := range s.Decision.Reasons {
			if r.Rule == "vulnerability" && r.Subject == f.Key() {
				row.Deadline, row.State = r.Deadline, "due"
				if r.Blocks {
					row.State = "late"
				}
			}
		}
		for _, w := range s.Decision.Waived {
			if w.Subject == f.Key() {
				row.State, row.Waiver, row.Deadline = "waived", &w.Waiver.Until, factory.Date{}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *command) printFindings(all []standing, rows []finding) error {
	if c.JSON {
		return c.printJSON(rows)
	}
	var text [][]string
	for _, f := range rows {
		state := f.State
		if f.Waiver != nil {
			state += " until " + f.Waiver.String()
		}
		text = append(text, []string{string(f.Severity), f.Vulnerability, f.Package, f.Version, cmp.Or(f.Fixed, "-"), f.Image, string(f.Env), factory.DateOf(f.FirstSeen).String(), f.Deadline.String(), state})
	}
	if err := c.table([]string{"SEVERITY", "VULNERABILITY", "PACKAGE", "INSTALLED", "FIXED IN", "IMAGE", "ENV", "FIRST SEEN", "DUE", "STATE"}, text); err != nil {
		return err
	}
	packages, unseen, data, releases := 0, 0, map[string]bool{}, map[string]bool{}
	for _, s := range all {
		if !releases[s.Release.ID] { // one may be in several environments
			packages += s.Scan.Packages
			unseen += len(s.Scan.NotLookedAt)
		}
		releases[s.Release.ID], data[s.Scan.Database.String()] = true, true
	}
	notSeen := ""
	if unseen > 0 {
		notSeen = fmt.Sprintf(" and %d NOT looked at", unseen)
	}
	fmt.Fprintf(c.w.Stderr, "%s in %s with %d packages%s; data: %s\n", count(len(rows), "line"), count(len(releases), "release"), packages, notSeen, cmp.Or(strings.Join(sortedKeys(data), "; "), "none"))
	return nil
}

// blocked is a decision as an error, for commands that act on it.
func blocked(d factory.Decision) error { return pipeline.Blocked(d) }
