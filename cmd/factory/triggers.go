package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/dispatch"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newTriggers(mk maker) *cobra.Command {
	parent := &cobra.Command{Use: "triggers", Short: "what dependents are told of releases: list, show, send, retry, excuse, drop", Long: `A trigger tells one dependent of one digest in one environment. It is written together with what it tells of, and delivered afterwards:
by the run itself, by the next one, or by factory triggers send.

` + exitHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	parent.AddCommand(newTriggersList(mk), newTriggersShow(mk), newTriggersSend(mk), newTriggersRetry(mk), newTriggersExcuse(mk), newTriggersDrop(mk))
	return parent
}

func newTriggersList(mk maker) *cobra.Command {
	var q store.TriggerQuery
	var status string
	c := &cobra.Command{Use: "list", Short: "what waits, was delivered, is dead or was superseded, and why", Args: cobra.NoArgs,
		Long:    "list shows triggers, newest first, with what the server said last, or why a trigger waits.\n\n" + exitHelp,
		Example: "  factory triggers list --status dead\n  factory triggers list --status waiting --json"}
	c.Flags().StringVar(&status, "status", "", "only these: waiting, delivered, dead or superseded")
	c.Flags().StringVar(&q.Dependent, "dependent", "", "only this dependent's")
	c.Flags().IntVar(&q.Limit, "limit", 50, "at most so many; 0 = all")
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		q.State = factory.TriggerState(status)
		if states := []factory.TriggerState{"", factory.TriggerWaiting, factory.TriggerDelivered, factory.TriggerDead, factory.TriggerObsolete}; !slices.Contains(states, q.State) {
			return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("--status %.20q", status), Hint: "waiting, delivered, dead or superseded"}
		}
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		all, err := db.Triggers(ctx, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.printJSON(all)
		}
		if err := c.explain(ctx, db, all); err != nil {
			return err
		}
		var text [][]string
		for _, t := range all {
			text = append(text, []string{t.ID, stateOf(t), t.Dependent, t.Tag.String(), t.Image, strconv.Itoa(t.Attempts), c.when(t), seeing(t)})
		}
		return c.table([]string{"TRIGGER", "STATE", "DEPENDENT", "TAG", "IMAGE", "ATTEMPTS", "WHEN (UTC)", "ANSWER"}, text)
	})
}

// explain says of triggers that wait when they can be told, and why not now, where nobody has said anything of them yet.
func (c *command) explain(ctx context.Context, db *store.Store, all []factory.Trigger) error {
	if !slices.ContainsFunc(all, func(t factory.Trigger) bool { return t.State == factory.TriggerWaiting }) {
		return nil
	}
	plan, err := c.dispatcher(db).Plan(ctx)
	known := map[string]dispatch.Planned{}
	for _, p := range plan {
		known[p.ID] = p
	}
	for i, t := range all {
		if p, ok := known[t.ID]; ok {
			all[i].Due, all[i].Answer = p.At, cmp.Or(p.Answer, p.Why)
			if p.At.Equal(dispatch.Never) {
				all[i].Answer = p.Why
			}
		}
	}
	return err
}

// stateOf is a trigger's state in a word, with what became of a canary.
func stateOf(t factory.Trigger) string {
	if t.Fate != "" && !t.Done {
		return string(t.State) + ", " + string(t.Fate)
	}
	return string(t.State)
}

// seeing is where to see what came of a trigger; what went wrong is said itself.
func seeing(t factory.Trigger) string {
	if t.Fate != "" && t.URL != "" {
		return t.Answer + "; " + t.URL
	}
	return cmp.Or(t.URL, t.Answer)
}

// when is the instant of a trigger that matters now: when it ended, or will be told.
func (c *command) when(t factory.Trigger) string {
	const form = "2006-01-02 15:04"
	switch {
	case t.Ended != nil:
		return t.Ended.UTC().Format(form)
	case t.Due.Equal(dispatch.Never):
		return "held"
	case t.Due.After(c.w.Now()):
		return "from " + t.Due.UTC().Format(form)
	}
	return "now"
}

func newTriggersShow(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "show ID", Short: "everything about one trigger", Args: cobra.ExactArgs(1), Long: "show prints a trigger by its id, or the beginning of it.\n\n" + exitHelp}
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		t, err := db.Trigger(ctx, args[0])
		if err != nil {
			return err
		}
		if c.JSON {
			return c.printJSON(t)
		}
		one := []factory.Trigger{t}
		if err := c.explain(ctx, db, one); err != nil {
			return err
		}
		t = one[0]
		return c.table([]string{"WHAT", "VALUE"}, [][]string{
			{"trigger", t.ID}, {"key", t.Key}, {"dependent", t.Dependent}, {"image", t.Image}, {"reference", t.Ref}, {"tag", t.Tag.String()}, {"environment", string(t.Env)}, {"release", t.Release},
			{"reason", t.Reason}, {"urgent", strconv.FormatBool(t.Urgent)}, {"canary", strconv.FormatBool(t.Canary)}, {"cause", cmp.Or(t.Cause, "-")}, {"state", string(t.State)},
			{"attempts", strconv.Itoa(t.Attempts)}, {"created", t.Created.Format("2006-01-02 15:04:05")}, {"when", c.when(t)}, {"answer", cmp.Or(t.Answer, "-")}, {"see", cmp.Or(t.URL, "-")}, {"has it", strconv.FormatBool(t.Done)},
			{"fate", cmp.Or(string(t.Fate), "-")}, {"server's name for it", cmp.Or(t.Handle, "-")},
		})
	})
}

func newTriggersSend(mk maker) *cobra.Command {
	var dry bool
	c := &cobra.Command{Use: "send", Short: "deliver what is due now", Args: cobra.NoArgs,
		Long: `send delivers what is due, urgent triggers first, then canaries, as fast as the servers' rates allow. It may run beside a night: what one
of them has claimed the other leaves alone. Triggers that wait for canaries go with the first send after these are through. A
dependent that cannot be told is a warning and no failure: it is tried again, or dead, which list shows.

` + exitHelp,
		Example: "  factory triggers send --dry-run\n  factory triggers send        # every ten minutes, by a timer"}
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be told to whom, and change nothing")
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		if dry {
			return c.planTriggers(ctx, db)
		}
		c.post = &courier{app: c.app, db: db, d: c.dispatcher(db), wake: make(chan struct{})}
		r, err := c.post.d.Deliver(ctx)
		if err != nil {
			return err
		}
		c.post.did = r
		told := c.post.finish(ctx, true)
		if told == nil {
			told = &tally{}
		}
		c.post.said = true
		if c.JSON {
			return c.printJSON(told)
		}
		_, err = fmt.Fprintln(c.out(), told)
		return err
	})
}

func (c *command) planTriggers(ctx context.Context, db *store.Store) error {
	plan, err := c.dispatcher(db).Plan(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(plan)
	}
	var text [][]string
	for _, p := range plan {
		when := "now"
		if p.Why != "" {
			when = "not now: " + p.Why
			if p.At.After(c.w.Now()) && !p.At.Equal(dispatch.Never) {
				when += ", until " + p.At.UTC().Format("2006-01-02 15:04 UTC")
			}
		}
		text = append(text, []string{p.ID, p.Dependent, p.Tag.String(), p.Image, when})
	}
	return c.table([]string{"TRIGGER", "DEPENDENT", "TAG", "IMAGE", "WHEN"}, text)
}
