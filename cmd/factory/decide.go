package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newTriggersRetry(mk maker) *cobra.Command {
	var dead bool
	c := &cobra.Command{Use: "retry ID... | --dead", Short: "let dead triggers, or canaries that failed, be told again", Args: cobra.ArbitraryArgs,
		Long: "retry lets dead triggers, and canaries whose build failed, wait again, from their first attempt on. factory triggers send, or the\n" +
			"next run, delivers them. A canary whose build was repaired or run again at its server needs no retry: that is seen.\n\n" + exitHelp,
		Example: "  factory triggers retry 20261123-020000-1a2b3c4d5e6f\n  factory triggers retry --dead && factory triggers send"}
	c.Flags().BoolVar(&dead, "dead", false, "all that are dead")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if dead == (len(args) > 0) {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "name the triggers, or all with --dead", Hint: "factory triggers list --status dead"}
		}
		return c.decide(ctx, args, "retried", "to be told again", (*store.Store).RetryTriggers)
	})
}

func newTriggersExcuse(mk maker) *cobra.Command {
	var why string
	c := &cobra.Command{Use: "excuse ID...", Short: "let those go that a canary holds back, whatever became of it", Args: cobra.MinimumNArgs(1),
		Long: "excuse names canaries that hold nobody back any more: one that failed, that is dead, or that nobody wants to wait for. Why is noted\n" +
			"in the trigger. factory triggers send, or the next run, tells the others.\n\n" + exitHelp,
		Example: "  factory triggers excuse 20261123-020000-1a2b3c4d5e6f --reason 'its tests are flaky' && factory triggers send"}
	c.Flags().StringVar(&why, "reason", "", "why; it is noted")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if why == "" {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "an excuse needs a reason", Hint: "add --reason WHY"}
		}
		return c.decide(ctx, args, "excused", "excused", func(db *store.Store, ctx context.Context, ids ...string) (int, error) {
			return db.ExcuseTriggers(ctx, why, ids...)
		})
	})
}

func newTriggersDrop(mk maker) *cobra.Command {
	var why string
	var away bool
	c := &cobra.Command{Use: "drop ID... | --absent", Short: "give up triggers that wait or are dead: nobody is told of them", Args: cobra.ArbitraryArgs,
		Long: "drop ends triggers that wait or are dead. With --absent these are all that wait for dependents which are not in dependents.yaml here,\n" +
			"or follow something else by now: taking somebody out does not end what waits for him, because an older checkout lacks him, too.\n\n" + exitHelp,
		Example: "  factory triggers drop 20261123-020000-1a2b3c4d5e6f\n  factory triggers drop --absent --reason 'payments moved away'"}
	c.Flags().StringVar(&why, "reason", "by hand", "why; it is noted")
	c.Flags().BoolVar(&away, "absent", false, "all of dependents that are not in dependents.yaml here")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if away == (len(args) > 0) {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "name the triggers, or take --absent", Hint: "factory triggers list --status waiting"}
		}
		if away {
			var err error
			if args, err = c.absent(ctx); err != nil {
				return err
			}
		}
		return c.decide(ctx, args, "dropped", "dropped", func(db *store.Store, ctx context.Context, ids ...string) (int, error) {
			if len(ids) == 0 {
				return 0, nil
			}
			return db.DropTriggers(ctx, why, ids...)
		})
	})
}

// absent are the triggers that wait for dependents which these definitions do not have.
func (c *command) absent(ctx context.Context) (ids []string, err error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	all, err := db.Triggers(ctx, store.TriggerQuery{State: factory.TriggerWaiting})
	for _, t := range all {
		if _, _, err := c.addressee(t); errors.Is(err, errAbsent) {
			ids = append(ids, t.ID)
		}
	}
	return ids, err
}

// failedCanaries counts those that hold somebody back.
func failedCanaries(ctx context.Context, db *store.Store) (n int, err error) {
	open, err := db.OpenTriggers(ctx)
	for _, t := range open {
		if t.Canary && t.State == factory.TriggerDelivered && t.Fate == factory.FateFailed && !t.Done {
			n++
		}
	}
	return n, err
}

// decide has something done to triggers, which are named by the beginnings of their ids, and prints how many they were.
func (c *command) decide(ctx context.Context, names []string, key, did string, do func(db *store.Store, ctx context.Context, ids ...string) (int, error)) error {
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, name := range names {
		t, err := db.Trigger(ctx, name)
		if err != nil {
			return err
		}
		ids = append(ids, t.ID)
	}
	n, err := do(db, ctx, ids...)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]int{key: n})
	}
	_, err = fmt.Fprintf(c.out(), "%s %s\n", count(n, "trigger"), did)
	return err
}
