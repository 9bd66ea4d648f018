package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/factory/store"
)

// telling tells dependents with everything that they are told.
type telling struct {
	app    *app
	db     *store.Store
	client *downstream.Client

	mu    sync.Mutex
	known map[[3]string]factory.Notice // by release, environment and when it came there: the same for everybody who follows
}

// Tell tells a trigger's dependent.
func (t *telling) Tell(ctx context.Context, tr factory.Trigger) (factory.Told, error) {
	server, token, n, err := t.message(ctx, tr)
	if err != nil {
		return factory.Told{}, err
	}
	return t.client.Tell(ctx, server, token, n)
}

// Watch looks what became of what a canary was told: whether an image that it publishes was seen on the release, or else what its
// server says of the build.
func (t *telling) Watch(ctx context.Context, tr factory.Trigger) (factory.Seen, error) {
	d, server, err := t.app.addressee(tr)
	if err != nil {
		return factory.Seen{Known: true}, plainly(err)
	}
	if seen, err := t.published(ctx, d, tr); err != nil || seen.Done {
		return seen, err
	}
	token, err := secret(cmp.Or(server.ReadToken, server.Token), t.app.w.Env)
	if err != nil {
		return factory.Seen{Known: true}, plainly(err)
	}
	seen, err := t.client.Watch(ctx, server, string(token), factory.Notice{Trigger: tr, Dependent: d})
	if err == nil && !seen.Known && len(d.Publishes) > 0 {
		seen.Known, seen.Answer = true, "waits until what it publishes is seen on the release: factory dependents discover"
	}
	return seen, err
}

// published looks for an image on the release that was seen where the dependent publishes.
func (t *telling) published(ctx context.Context, d factory.Dependent, tr factory.Trigger) (factory.Seen, error) {
	if len(d.Publishes) == 0 {
		return factory.Seen{}, nil
	}
	all, err := t.db.Observed(ctx, store.ObservedQuery{Image: tr.Image})
	if err != nil {
		return factory.Seen{Known: true}, err
	}
	for _, o := range all {
		on := o.Base != "" && strings.HasSuffix(tr.Ref, "@"+string(o.Base)) || o.Release != "" && o.Release == tr.Release
		if on && slices.Contains(d.Publishes, o.Repository) {
			return factory.Seen{Known: true, Done: true, Answer: o.Repository + ":" + o.Tag + " is built on it"}, nil
		}
	}
	return factory.Seen{Known: true}, nil
}

// message is what a trigger's dependent is told, and through what. Its errors are of no kind: they are the factory's own, and decide
// nothing about the dependent.
func (t *telling) message(ctx context.Context, tr factory.Trigger) (server factory.Server, token string, n factory.Notice, err error) {
	d, server, err := t.app.addressee(tr)
	if err != nil { // it was there a moment ago
		return server, "", n, plainly(err)
	}
	b, err := secret(server.Token, t.app.w.Env)
	if err != nil {
		return server, "", n, plainly(err)
	}
	if n, err = t.notice(ctx, tr); err != nil {
		return server, "", n, plainly(err)
	}
	n.Trigger, n.Dependent = tr, d
	return server, string(b), n, nil
}

// notice is what changed with a release in its environment, for whomever.
func (t *telling) notice(ctx context.Context, tr factory.Trigger) (factory.Notice, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [3]string{tr.Release, string(tr.Env), tr.Created.String()}
	if n, ok := t.known[key]; ok {
		return n, nil
	}
	n, err := t.changes(ctx, tr)
	if err != nil {
		return n, err
	}
	if t.known == nil {
		t.known = map[[3]string]factory.Notice{}
	}
	t.known[key] = n
	return n, nil
}

func (t *telling) changes(ctx context.Context, tr factory.Trigger) (n factory.Notice, err error) {
	old, err := t.before(ctx, tr)
	if err != nil || old == nil {
		return n, err
	}
	now, err := t.db.Release(ctx, tr.Release)
	if err != nil {
		return n, err
	}
	was, err := t.db.Release(ctx, old.Release)
	if err != nil {
		return n, err
	}
	n.Before = old.Repository + "@" + string(old.Digest)
	n.Packages = now.Lock.Since(&was.Lock).Packages
	n.Fixed, err = t.fixed(ctx, was.ID, now.ID)
	return n, err
}

// before is the entry by which the digest came into the environment that was there before the trigger's; nil = none was.
func (t *telling) before(ctx context.Context, tr factory.Trigger) (*factory.Entry, error) {
	all, err := t.db.Ledger(ctx, store.LedgerQuery{Image: tr.Image, Env: tr.Env})
	if err != nil {
		return nil, err
	}
	ours := false
	for _, e := range all { // newest first
		same := e.Repository+"@"+string(e.Digest) == tr.Ref
		switch {
		case e.Revoked:
		case same:
			ours = true
		case ours, e.At.Before(tr.Created): // the latter when ours came back because this one was revoked
			return &e, nil
		}
	}
	return nil, nil
}

// fixed are the vulnerabilities that the last scan of the old release found, and that of the new one did not. Where either was never
// scanned nothing is said, and so it is of packages that the new one's scan did not look at.
func (t *telling) fixed(ctx context.Context, old, now string) (ids []string, err error) {
	was, err := t.db.LatestScan(ctx, old)
	if err != nil || was == nil {
		return nil, err
	}
	is, err := t.db.LatestScan(ctx, now)
	if err != nil || is == nil {
		return nil, err
	}
	still := map[string]bool{}
	for _, f := range is.Findings {
		still[f.Vulnerability] = true
	}
	for _, f := range was.Findings {
		if !still[f.Vulnerability] && !slices.Contains(is.NotLookedAt, f.Package) {
			ids = append(ids, f.Vulnerability)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
