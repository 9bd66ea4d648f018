package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/imagefactory/imagefactory/factory"
)

type triggerRow struct {
	bun.BaseModel `bun:"table:triggers,alias:triggers"`

	ID         string `bun:",pk"`
	Key        string
	Dependent  string
	Image      string
	ReleaseID  string
	Repository string
	Digest     string
	Tag        string
	Env        string
	Reason     string
	Urgent     bool
	Canary     bool
	Cause      string
	State      string
	Attempts   int
	Created    time.Time
	Due        time.Time
	Ended      *time.Time
	Answer     string
	URL        string `bun:"url"`
	Done       bool
	Claimed    *time.Time
	Handle     string
	Fate       string
}

const (
	waiting    = string(factory.TriggerWaiting)
	delivered  = string(factory.TriggerDelivered)
	dead       = string(factory.TriggerDead)
	superseded = string(factory.TriggerObsolete)
	failed     = string(factory.FateFailed)
	excused    = string(factory.FateExcused)
)

// longestChain is how many causes are followed back: loops are shorter.
const longestChain = 100

// triggerKey is the same for the same dependent, digest and environment; again makes another one, for a digest that comes back.
func triggerKey(dependent string, e entryRow, again ...string) string {
	return factory.DigestOf([]byte(strings.Join(append([]string{dependent, e.Digest, e.Env}, again...), "\n"))).Hex()
}

// addTriggers writes a trigger for everybody who follows an entry's image into its environment. What they were to be told before,
// and were not yet, is superseded. Nobody is told the same thing twice, unless they were told of another digest in between, or what a
// trigger of theirs led to, and a digest that is revoked is told to nobody. The cause is that of the entry's release. Whoever still waits
// to be told of what was there before, and is not followed here, is to be told of the new one in its place: somebody else follows him.
func (s *Store) addTriggers(ctx context.Context, tx bun.Tx, e entryRow, cause string) error {
	if s.Follow == nil {
		return nil
	}
	entry, err := e.entry()
	if err != nil {
		return err
	}
	all, err := alsoWaiting(ctx, tx, e, s.Follow(entry))
	if err != nil || len(all) == 0 {
		return err
	}
	if gone, err := revocation(ctx, tx, e.Repository, e.Digest); err != nil || gone != nil {
		return err
	}
	chain, err := causes(ctx, tx, cause)
	if err != nil {
		return err
	}
	for _, t := range all {
		row := triggerRow{ID: t.ID, Key: triggerKey(t.Dependent, e), Dependent: t.Dependent, Image: e.Image, ReleaseID: e.ReleaseID, Repository: e.Repository, Digest: e.Digest,
			Tag: e.Tag, Env: e.Env, Reason: clean(t.Reason), Urgent: t.Urgent, Canary: t.Canary, Cause: cause, State: waiting, Created: e.At, Due: e.At}
		if !plain(row.ID) || !plain(row.Dependent) {
			return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("a trigger %.80q for %.80q", row.ID, row.Dependent)}
		}
		if id := chain[row.Dependent]; id != "" {
			row.State, row.Ended, row.Answer = superseded, &e.At, "not told: its own trigger "+id+" led to this release"
		}
		left, err := leftBehind(ctx, tx, row)
		if err != nil {
			return err
		}
		if left { // to the receiver it must be another message, or it would be one that was dealt with
			row.Key = triggerKey(t.Dependent, e, e.Tag)
		}
		if err := addTrigger(ctx, tx, row); err != nil {
			return err
		}
	}
	return nil
}

// alsoWaiting adds those who wait to be told of another digest of the entry's image in its environment, and are not among all.
func alsoWaiting(ctx context.Context, tx bun.Tx, e entryRow, all []factory.Trigger) ([]factory.Trigger, error) {
	var rows []triggerRow
	err := tx.NewSelect().Model(&rows).Where("image = ? AND env = ? AND state = ? AND digest <> ?", e.Image, e.Env, waiting, e.Digest).Order("dependent", "id").Scan(ctx)
	for _, row := range rows {
		if slices.ContainsFunc(all, func(t factory.Trigger) bool { return t.Dependent == row.Dependent }) {
			continue
		}
		id := e.At.UTC().Format("20060102-150405-") + triggerKey(row.Dependent, e)[:12]
		all = append(all, factory.Trigger{ID: id, Dependent: row.Dependent, Canary: row.Canary, Urgent: row.Urgent, Reason: cmp.Or(e.Reason, row.Reason)})
	}
	return all, err
}

// leftBehind reports whether a dependent was told of the digest, and of another one after that.
func leftBehind(ctx context.Context, tx bun.Tx, row triggerRow) (bool, error) {
	var told []triggerRow
	err := tx.NewSelect().Model(&told).Column("digest").Where("dependent = ? AND env = ? AND state = ?", row.Dependent, row.Env, delivered).
		Order("ended DESC", "created DESC", "id DESC").Scan(ctx)
	return err == nil && len(told) > 0 && told[0].Digest != row.Digest && slices.ContainsFunc(told, func(t triggerRow) bool { return t.Digest == row.Digest }), err
}

func addTrigger(ctx context.Context, tx bun.Tx, row triggerRow) error {
	_, err := tx.NewUpdate().Table("triggers").Set("state = ?, ended = ?, answer = ?", superseded, row.Created, "superseded by "+row.ID).
		Where("dependent = ? AND env = ? AND state IN (?, ?) AND key <> ?", row.Dependent, row.Env, waiting, dead, row.Key).Exec(ctx)
	if err != nil {
		return err
	}
	if added, err := insert(ctx, tx, &row); err != nil || added {
		return err
	}
	// The digest was there before, and something newer came before its dependent was told: now it is what is to be told again.
	_, err = tx.NewUpdate().Model(&row).ExcludeColumn("id", "key", "dependent", "image", "repository", "digest", "env").
		Where("key = ? AND state = ?", row.Key, superseded).Exec(ctx)
	return err
}

// causes returns the triggers that led to a release, by dependent.
func causes(ctx context.Context, tx bun.Tx, id string) (map[string]string, error) {
	chain := map[string]string{}
	for range longestChain {
		var row triggerRow
		switch err := tx.NewSelect().Model(&row).Column("dependent", "cause").Where("id = ?", id).Scan(ctx); {
		case id == "" || none(err):
			return chain, nil
		case err != nil:
			return nil, err
		case chain[row.Dependent] != "":
			return chain, nil
		}
		chain[row.Dependent], id = id, row.Cause
	}
	return chain, nil
}

// withdraw ends the triggers about a digest that nobody may use any more.
func withdraw(ctx context.Context, tx bun.Tx, e entryRow) error {
	_, err := tx.NewUpdate().Table("triggers").Set("state = ?, ended = ?, answer = ?", superseded, e.At, "the digest was revoked: "+e.Reason).
		Where("repository = ? AND digest = ? AND state IN (?, ?)", e.Repository, e.Digest, waiting, dead).Exec(ctx)
	return err
}

// goBack writes triggers about what is in force again now that a digest is revoked. Whoever was not told of that digest has it still.
func (s *Store) goBack(ctx context.Context, tx bun.Tx, revoked entryRow) error {
	var came []entryRow
	err := tx.NewSelect().Model(&came).Where("image = ? AND NOT revoked", revoked.Image).
		Where("digest = ? OR NOT EXISTS (SELECT 1 FROM ledger AS r WHERE r.repository = ledger.repository AND r.digest = ledger.digest AND r.revoked)", revoked.Digest).
		Order("seq DESC").Scan(ctx)
	if err != nil {
		return err
	}
	gone, done := map[string]entryRow{}, map[string]bool{}
	for _, e := range came {
		if e.Repository == revoked.Repository && e.Digest == revoked.Digest {
			gone[e.Env] = e
			continue
		}
		was, left := gone[e.Env]
		if left && !done[e.Env] {
			e.At, e.Reason = revoked.At, was.Tag+" was revoked: "+revoked.Reason
			if err := s.addTriggers(ctx, tx, e, ""); err != nil {
				return err
			}
		}
		done[e.Env] = true // what came before was not in force
	}
	return nil
}

func (row triggerRow) trigger() (factory.Trigger, error) {
	t := factory.Trigger{ID: row.ID, Key: row.Key, Dependent: row.Dependent, Image: row.Image, Release: row.ReleaseID, Ref: row.Repository + "@" + row.Digest,
		Env: factory.Env(row.Env), Reason: row.Reason, Urgent: row.Urgent, Canary: row.Canary, Cause: row.Cause, State: factory.TriggerState(row.State),
		Attempts: row.Attempts, Created: row.Created.UTC(), Due: row.Due.UTC(), Answer: row.Answer, URL: row.URL, Done: row.Done, Handle: row.Handle, Fate: factory.Fate(row.Fate)}
	if row.Ended != nil {
		at := row.Ended.UTC()
		t.Ended = &at
	}
	if err := t.Tag.UnmarshalText([]byte(row.Tag)); err != nil {
		return t, damaged("trigger "+row.ID, "tag", err)
	}
	return t, nil
}
