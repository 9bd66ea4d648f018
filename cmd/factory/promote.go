package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/cosign"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newPromote(mk maker) *cobra.Command {
	var to string
	var dry bool
	c := &cobra.Command{
		Use: "promote REF --to staging|prod", Short: "let a release into the next environment: same digest, one more tag", Args: cobra.ExactArgs(1),
		Long: `promote looks the release up in today's vulnerability data, runs the environment's gate, checks signatures and attestations as a consumer
would, attests the decision, and gives the digest the environment's tag. Nothing is built. The order is dev, staging, prod.

` + exitHelp,
		Example: "  factory promote debian-12 --to staging --dry-run\n  factory promote 20261123-1a2b3c4d-dev --to staging",
	}
	c.Flags().StringVar(&to, "to", "", "staging or prod")
	c.Flags().BoolVar(&dry, "dry-run", false, "decide and say so, and change nothing")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		env, err := factory.ParseEnv(to)
		if err != nil || env == factory.Dev {
			return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("--to %.20q", to), Hint: "staging or prod; releases begin in the environment that they are built for"}
		}
		r, err := c.promotable(ctx, args[0], env)
		if err != nil {
			return err
		}
		if dry {
			return c.promote(ctx, "", r, env, true)
		}
		return c.leased(ctx, "promote", func(ctx context.Context, run string) error { return c.promote(ctx, run, r, env, false) })
	})
}

// promotable finds the release that is meant: an image's name means its newest release in the environment before.
func (c *command) promotable(ctx context.Context, ref string, to factory.Env) (factory.Release, error) {
	db, err := c.store(ctx)
	if err != nil {
		return factory.Release{}, err
	}
	from := before(to)
	standing, err := db.Standing(ctx)
	if err != nil {
		return factory.Release{}, err
	}
	for _, e := range standing {
		if e.Image == ref && e.Env == from {
			return db.Release(ctx, e.Release)
		}
	}
	r, err := db.Release(ctx, ref)
	if err != nil {
		return r, err
	}
	ledger, err := db.Ledger(ctx, store.LedgerQuery{Image: r.Image, Digest: r.Digest})
	if err != nil {
		return r, err
	}
	for _, e := range ledger {
		if e.Release == r.ID && !e.Revoked && (e.Env == from || e.Env == to) {
			return r, nil
		}
	}
	return r, &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("%s was never in %s", r.Tagged(), from), Hint: fmt.Sprintf("factory promote %s --to %s", ref, from)}
}

// before is the environment that a release must have been in to come into env.
func before(env factory.Env) factory.Env {
	if env == factory.Prod {
		return factory.Staging
	}
	return factory.Dev
}

// promotion is what promote prints.
type promotion struct {
	Ref      string           `json:"ref"`
	Digest   factory.Digest   `json:"digest"`
	Env      factory.Env      `json:"env"`
	DryRun   bool             `json:"dryRun,omitempty"`
	Decision factory.Decision `json:"decision"`
}

// letIn rescans a release, has the environment's gate decide about it, and publishes what came of that. When the gate blocks, it returns
// the decision with the error; with any other error, nothing.
func (c *command) letIn(ctx context.Context, run string, r factory.Release, env factory.Env, dry bool) (promotion, error) {
	set, err := c.definitions()
	if err != nil {
		return promotion{}, err
	}
	if !dry {
		if _, err := c.rescanOne(ctx, r); err != nil {
			return promotion{}, fmt.Errorf("rescan %s: %w", r.Tagged(), err)
		}
	}
	s, err := c.judge(ctx, set, r, env)
	if err != nil {
		return promotion{}, err
	}
	tag := r.Tag
	tag.Env = env
	out := promotion{Ref: r.Repository + ":" + tag.String(), Digest: r.Digest, Env: env, DryRun: dry, Decision: s.Decision}
	if err := blocked(s.Decision); err != nil {
		return out, err
	}
	if !dry {
		if err := c.publishPromotion(ctx, run, set, s, tag); err != nil {
			return promotion{}, err
		}
	}
	return out, nil
}

func (c *command) promote(ctx context.Context, run string, r factory.Release, env factory.Env, dry bool) error {
	out, err := c.letIn(ctx, run, r, env, dry)
	if err != nil {
		if c.JSON && out.Ref != "" {
			err = errors.Join(err, c.printJSON(out))
		}
		return err
	}
	if err := c.tellNewer(ctx, r, env); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(out)
	}
	verb := "promoted"
	if dry {
		verb = "would be promoted"
	}
	fmt.Fprintf(c.out(), "%s@%s\n", out.Ref, out.Digest)
	fmt.Fprintf(c.w.Stderr, "%s %s %s from %s\n", r.Image, verb, "to "+string(env), r.Tagged())
	return nil
}

// tellNewer warns when a release is no more in force in an environment that it was in before: promoting it again is no way back.
func (c *command) tellNewer(ctx context.Context, r factory.Release, env factory.Env) error {
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	was, err := db.Ledger(ctx, store.LedgerQuery{Image: r.Image, Env: env, Digest: r.Digest})
	if err != nil || len(was) == 0 {
		return err
	}
	standing, err := db.Standing(ctx)
	for _, e := range standing {
		if e.Image == r.Image && e.Env == env && e.Digest != r.Digest {
			c.emit(factory.Event{Kind: factory.Warned, Image: r.Image, Message: fmt.Sprintf("%s came into %s later and stays in force; to go back: factory revoke %s --reason WHY", e.Tag, env, e.Tag)})
		}
	}
	return err
}

// publishPromotion verifies, attests, tags and records, in this order: the tag is what consumers see, so it comes last of what is
// published, and what is recorded is what was published.
func (c *command) publishPromotion(ctx context.Context, run string, set definition.Set, s standing, tag factory.Tag) error {
	r := s.Release
	if err := c.serveRegistry(ctx); err != nil {
		return err
	}
	signing, err := c.signingKept(ctx, run)
	if err != nil {
		return err
	}
	// The gate looked at a new scan. That is attested first, with what it means for the environments that the release is in.
	if err := c.attestScan(ctx, run, set, r, s.Scan); err != nil {
		return err
	}
	if err := signing.Verify(ctx, r.Repository, r.Digest); err != nil {
		return fmt.Errorf("verify %s: %w", r.Ref(), err)
	}
	sigs, err := signing.signer.Promote(ctx, r.Repository, r.Digest, tag, s.Decision)
	if err != nil {
		return err
	}
	if err := signing.signer.Attach(ctx, r.Repository, sigs); err != nil {
		return err
	}
	if err := c.registry().Tag(ctx, r.Repository, r.Digest, tag); err != nil {
		return err
	}
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	return db.Promote(context.WithoutCancel(ctx), factory.Entry{ID: c.newID(), Release: r.ID, Image: r.Image, Repository: r.Repository, Digest: r.Digest, Env: tag.Env, Tag: tag,
		At: c.w.Now().UTC(), By: c.who(), Run: run, Reason: "promoted from " + string(before(tag.Env)), Decision: s.Decision})
}

func newRevoke(mk maker) *cobra.Command {
	var reason string
	var dry bool
	c := &cobra.Command{
		Use: "revoke REF --reason TEXT", Short: "tell everybody that a release must not be used any more", Args: cobra.ExactArgs(1),
		Long: `revoke publishes a signed revocation of a release's digest next to it. factory verify refuses the digest from then on, under every tag,
and it is in force nowhere any more. Tags stay where they are: what runs must be found, not hidden. It cannot be taken back; make a
new release instead.

` + exitHelp,
		Example: "  factory revoke 20261123-1a2b3c4d-prod --reason 'CVE-2026-1234 is exploited'",
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for whoever meets it")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be revoked, and change nothing")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if strings.TrimSpace(reason) == "" {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "a revocation needs a reason", Hint: "--reason 'why'"}
		}
		r, err := c.release(ctx, args[0])
		if err != nil {
			return err
		}
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		first, err := db.Revoked(ctx, r.Repository, r.Digest)
		if err != nil {
			return err
		}
		if first != nil { // published again: the first time may have gone wrong, or somebody took it away
			reason = first.Reason
		}
		entry := factory.Entry{ID: c.newID(), Release: r.ID, Image: r.Image, Repository: r.Repository, Digest: r.Digest, Env: r.Tag.Env, Tag: r.Tag,
			At: c.w.Now().UTC(), By: c.who(), Reason: reason, Revoked: true}
		if !dry {
			if err := c.leasedPatiently(ctx, "revoke", "", func(ctx context.Context, run string) error { return c.revoke(ctx, run, entry, r.Owner) }); err != nil {
				return err
			}
		}
		verb := "is revoked"
		if first != nil {
			verb, entry = "was revoked before, and is again", *first
		}
		if dry {
			verb = "would be revoked"
		}
		return c.printRevoked(r, &entry, verb)
	})
}

func (c *command) printRevoked(r factory.Release, e *factory.Entry, verb string) error {
	if e == nil {
		return nil
	}
	if c.JSON {
		return c.printJSON(e)
	}
	fmt.Fprintf(c.out(), "%s\n", r.Ref())
	fmt.Fprintf(c.w.Stderr, "%s %s: %s; make its successor: factory build --lock %s\n", r.Tagged(), verb, clean(e.Reason), r.Image)
	return nil
}

// revoke tells consumers first: a record of a revocation that nobody can see would be worse than one without a record. What is
// published names the owner's team; who typed it, and where, is for the ledger alone.
func (c *command) revoke(ctx context.Context, run string, e factory.Entry, team string) error {
	if err := c.serveRegistry(ctx); err != nil {
		return err
	}
	signing, err := c.signingKept(ctx, run)
	if err != nil {
		return err
	}
	sigs, err := signing.signer.Revoke(ctx, e.Repository, e.Digest, e.Reason, cmp.Or(team, "the factory"), e.At)
	if err != nil {
		return err
	}
	if err := signing.signer.Attach(ctx, e.Repository, sigs); err != nil {
		return err
	}
	checks, err := cosign.Verify(ctx, e.Repository+"@"+string(e.Digest), signing.verify)
	if !slices.ContainsFunc(checks, func(k cosign.Check) bool { return k.Name == "revocation" && !k.OK }) {
		return &factory.Problem{Kind: factory.ErrUnverified, What: "the revocation of " + e.Repository + "@" + string(e.Digest) + " was published and does not verify", Cause: err, Hint: "check the key, then run it again"}
	}
	e.Run = run
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	return db.Revoke(context.WithoutCancel(ctx), e)
}

func newLedger(mk maker) *cobra.Command {
	var env string
	var limit int
	c := &cobra.Command{Use: "ledger [IMAGE]", Short: "what came into which environment when, by whom, on which evidence", Args: cobra.MaximumNArgs(1),
		Long: "ledger lists every digest that came into an environment or was revoked, newest first.\n\n" + exitHelp}
	envFlag(c, &env, "only this environment (default all)")
	c.Flags().IntVar(&limit, "limit", 20, "at most so many; 0 = all")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		q := store.LedgerQuery{Image: strings.Join(args, ""), Limit: limit}
		if env != "" {
			e, err := factory.ParseEnv(env)
			if err != nil {
				return err
			}
			q.Env = e
		}
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		entries, err := db.Ledger(ctx, q)
		if err != nil {
			return err
		}
		if len(entries) == 0 && len(args) == 1 {
			if err := c.defined(args[0]); err != nil {
				return err
			}
		}
		if c.JSON {
			return c.printJSON(entries)
		}
		var text [][]string
		for _, e := range entries {
			what := "into " + string(e.Env)
			if e.Revoked {
				what = "REVOKED"
			}
			text = append(text, []string{e.At.UTC().Format("2006-01-02 15:04"), e.Image, what, e.Tag.String(), e.Digest.Short(), cmp.Or(e.By, e.Run), e.Reason})
		}
		return c.table([]string{"WHEN (UTC)", "IMAGE", "WHAT", "TAG", "DIGEST", "BY", "WHY"}, text)
	})
}
