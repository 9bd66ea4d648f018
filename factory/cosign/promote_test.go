package cosign

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestPromote(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, sigs := release(t, s, repository, func(e *factory.Examined) { e.Job.Env = factory.Dev })
	dev, staging, prod := "20261123-1a2b3c4d-dev", "20261123-1a2b3c4d-staging", prodTag
	for _, tag := range []string{staging, prod} {
		retag(t, repository, tag, a.Digest)
	}
	verify := func(ref string, o VerifyOptions) ([]Check, error) {
		o.Key = pub
		return Verify(t.Context(), repository+ref, o)
	}
	// Somebody with write access has put the tags there; nobody decided.
	for _, tag := range []string{staging, prod} {
		if checks, err := verify(":"+tag, VerifyOptions{}); !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), []string{"provenance tag", "decision"}) {
			t.Errorf("%s by hand: %v\n%+v", tag, err, checks)
		}
	}
	e := examined(a)
	e.Job.Env, e.At = factory.Staging, began.AddDate(0, 0, 2)
	decision := decided(e)
	tag, err := factory.ParseTag(staging)
	must(t, err)
	promotion := must2(s.Promote(t.Context(), repository, a.Digest, tag, decision, sigs...))(t)
	must(t, s.Attach(t.Context(), repository, promotion))
	if text := of(t, promotion, DecisionType); strings.Count(text, `"uri":"`+repository+`@sha256:`) != 9 {
		t.Errorf("inputs: %s", text)
	}

	for ref, wrong := range map[string][]string{":" + dev: nil, ":" + staging: nil, ":" + prod: {"provenance tag", "decision"}, "@" + string(a.Digest): nil} {
		if checks, err := verify(ref, VerifyOptions{}); !slices.Equal(failed(checks), wrong) {
			t.Errorf("%s: %v\n%+v", ref, err, checks)
		}
	}
	if checks, _ := verify(":"+staging, VerifyOptions{}); detail(t, checks, "provenance tag") != "it speaks of "+dev+", promoted since" {
		t.Errorf("%+v", checks)
	}
	for env, wrong := range map[factory.Env][]string{factory.Dev: nil, factory.Staging: nil, factory.Prod: {"decision"}} {
		if checks, err := verify("@"+string(a.Digest), VerifyOptions{Env: env}); !slices.Equal(failed(checks), wrong) {
			t.Errorf("by digest, %s: %v\n%+v", env, err, checks)
		}
	}
	if checks, _ := verify(":"+dev, VerifyOptions{Env: factory.Prod}); !slices.Equal(failed(checks), []string{"decision"}) {
		t.Errorf("the dev tag where prod is asked for: %+v", checks)
	}
	// Refused promotions make no statement.
	for what, change := range map[string]func(*factory.Decision){
		"blocks":           func(d *factory.Decision) { d.Pass = false },
		"blocks for a why": func(d *factory.Decision) { d.Reasons = []factory.Reason{{Blocks: true}} },
		"another image":    func(d *factory.Decision) { d.Digest = factory.DigestOf(nil) },
		"another env":      func(d *factory.Decision) { d.Env = factory.Prod },
	} {
		d := decided(e)
		change(&d)
		sigs, err := s.Promote(t.Context(), repository, a.Digest, tag, d)
		if sigs != nil || !errors.Is(err, factory.ErrBlocked) && !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Promote(t.Context(), "nowhere", a.Digest, tag, decision); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("no repository: %v", err)
	}
}

// Inputs that are in no commit are for dev, however they came elsewhere.
func TestDirtyIsNotPromoted(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	dirty := factory.Source{Hash: "0badc0de", Dirty: true, Inputs: factory.DigestOf(nil)}
	a, _ := release(t, s, repository, func(e *factory.Examined) { e.Job.Env, e.Job.Source = factory.Dev, dirty })
	e := examined(a)
	tag := factory.Tag{Date: factory.DateOf(began), Hash: dirty.Hash, Env: factory.Prod}
	must(t, s.Attach(t.Context(), repository, must2(s.Promote(t.Context(), repository, a.Digest, tag, decided(e)))(t)))
	retag(t, repository, tag.String(), a.Digest)
	if checks, _ := Verify(t.Context(), repository+":"+tag.String(), VerifyOptions{Key: pub}); !slices.Equal(failed(checks), []string{"source"}) {
		t.Errorf("%+v", checks)
	}
	if checks, _ := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub, Env: factory.Prod}); !slices.Equal(failed(checks), []string{"source"}) {
		t.Errorf("by digest: %+v", checks)
	}
}

func TestRescan(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, _ := release(t, s, repository, nil)
	e := examined(a)
	e.At = began.AddDate(0, 0, 3)
	breach := decided(e)
	breach.Pass, breach.Reasons = false, []factory.Reason{{Rule: "vulnerability", Blocks: true, Text: "CVE-2026-1 of bash should have been fixed by 2026-11-25"}}
	sigs := must2(s.Rescanned(t.Context(), repository, a, Rescan{Scan: e.Scanned.Scan, VEX: vex, Decisions: map[factory.Tag]factory.Decision{tagFor(e): decided(e), tagFor(examined(a)): breach}}))(t)
	must(t, s.Attach(t.Context(), repository, sigs))
	if len(sigs) != 4 {
		t.Errorf("%d attestations", len(sigs))
	}
	checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub})
	if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), []string{"decision"}) {
		t.Errorf("%v\n%+v", err, checks)
	}
	if got := detail(t, checks, "decision"); !strings.Contains(got, prodTag+" was refused on 2026-11-26 02:00") || !strings.Contains(got, "should have been fixed by 2026-11-25") {
		t.Error(got)
	}
	// The digest alone is judged by the tag that is still good.
	if checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub}); err != nil {
		t.Errorf("%v\n%+v", err, checks)
	}
	for what, r := range map[string]Rescan{
		"no scan":        {VEX: vex},
		"no VEX":         {Scan: e.Scanned.Scan},
		"other decision": {Scan: e.Scanned.Scan, VEX: vex, Decisions: map[factory.Tag]factory.Decision{tagFor(e): {}}},
	} {
		if _, err := s.Rescanned(t.Context(), repository, a, r); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (&Signer{}).Rescanned(t.Context(), repository, a, Rescan{Scan: e.Scanned.Scan, VEX: vex}); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("no key: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, sigs := release(t, s, repository, nil)
	verify := func(o VerifyOptions) ([]Check, error) {
		o.Key = pub
		return Verify(t.Context(), repository+":"+prodTag, o)
	}
	// By another key: no more than a rumour.
	mallory, _ := stranger(t)
	revoke := func(by *Signer, why string) {
		t.Helper()
		must(t, by.Attach(t.Context(), repository, must2(by.Revoke(t.Context(), repository, a.Digest, why, "ann@desk", began.AddDate(0, 0, 1)))(t)))
	}
	revoke(mallory, "nobody should use it")
	if checks, err := verify(VerifyOptions{}); err != nil {
		t.Errorf("revoked by a stranger: %v\n%+v", err, checks)
	}
	revoke(s, "ships a private key")
	revoke(s, "and a second one")
	must(t, s.Attach(t.Context(), repository, sigs)) // signing again does not unmake it
	checks, err := verify(VerifyOptions{})
	if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), []string{"revocation"}) {
		t.Errorf("%v\n%+v", err, checks)
	}
	if got := detail(t, checks, "revocation"); got != "revoked by ann@desk on 2026-11-24 02:00: ships a private key" {
		t.Error(got)
	}
	if n := count(t, repository, a.Digest, attestations); n != 9+3 {
		t.Errorf("%d attestations", n)
	}
	again := must2(s.Revoke(t.Context(), repository, a.Digest, "twice", "ann@desk", began))(t)
	for range 2 {
		must(t, s.Attach(t.Context(), repository, again))
	}
	if n := count(t, repository, a.Digest, attestations); n != 9+4 {
		t.Errorf("%d attestations after attaching the same revocation twice", n)
	}

	// Who can write can take it away. Whoever keeps a ledger knows better.
	mirrored(t, repository, a.Digest, without(sigs, ""))
	if checks, err := verify(VerifyOptions{}); err != nil {
		t.Errorf("the limit that Verify documents has moved: %v\n%+v", err, checks)
	}
	ledger := map[factory.Digest]string{a.Digest: "by ann@desk: ships a private key"}
	down := errors.New("ledger is down")
	checks, err = verify(VerifyOptions{Revoked: func(_ context.Context, d factory.Digest) (string, error) { return ledger[d], nil }})
	if !slices.Equal(failed(checks), []string{"revocation"}) || !strings.Contains(detail(t, checks, "revocation"), "revoked: by ann@desk") {
		t.Errorf("in the ledger: %v\n%+v", err, checks)
	}
	if _, err := verify(VerifyOptions{Revoked: func(context.Context, factory.Digest) (string, error) { return "", down }}); !errors.Is(err, down) {
		t.Errorf("a ledger that is down: %v", err)
	}
	if checks, err := verify(VerifyOptions{Revoked: func(context.Context, factory.Digest) (string, error) { return "", nil }}); err != nil {
		t.Errorf("not in the ledger: %v\n%+v", err, checks)
	}
	// One that cannot be read still counts.
	says(t, s, repository, must2(draftOf(RevocationType, subjects(repository, a.Digest), 7))(t))
	if checks, _ := verify(VerifyOptions{}); !slices.Equal(failed(checks), []string{"revocation"}) {
		t.Errorf("unreadable: %+v", checks)
	}
	if _, err := s.Revoke(t.Context(), repository, a.Digest, " ", "ann@desk", began); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("no reason: %v", err)
	}
}
