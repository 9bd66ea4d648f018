package system_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// promotion is what promote prints with --json.
type promotion struct {
	Ref      string
	Digest   factory.Digest
	Decision factory.Decision
}

// promote lets a release into an environment.
func (p plant) promote(t testing.TB, ref string, to factory.Env) (out promotion) {
	t.Helper()
	p.json(t, &out, "promote", ref, "--to", string(to))
	return out
}

// standing is as much of factory status as is looked at.
type standing struct {
	Image    string
	Env      factory.Env
	Release  string
	Digest   factory.Digest
	Pass     bool
	Blocking []factory.Reason
	Findings map[factory.Severity]int
	Waived   int
}

// status returns the morning view by image and environment.
func (p plant) status(t testing.TB) map[string]standing {
	t.Helper()
	var view struct{ Images []standing }
	p.json(t, &view, "status")
	all := map[string]standing{}
	for _, s := range view.Images {
		all[s.Image+" "+string(s.Env)] = s
	}
	return all
}

// waive accepts a vulnerability for a time.
func (p plant) waive(t testing.TB, image, vulnerability string, until time.Time) {
	t.Helper()
	file := filepath.Join(p.Dir, "baseimages", image, "waivers.yaml")
	b, err := os.ReadFile(file)
	must(t, err)
	text := fmt.Sprintf("  - id: %s\n    reason: A story accepts it\n    by: platform-linux\n    until: %s\n", vulnerability, factory.DateOf(until))
	must(t, os.WriteFile(file, append(b, text...), 0o644))
}

// The same digest goes from dev to prod, what should not ship does not, a waiver accepts and expires, what is found later is shown
// and told to consumers, and a revocation reaches those who know nothing of this factory.
func TestPromotion(t *testing.T) {
	p := again(t)
	p.serve(t)
	key := p.publicKey(t)
	twelve, thirteen := p.release(t, "debian-12"), p.release(t, "debian-13")
	if r := p.exits(t, 3, "promote", "debian-12", "--to", "prod"); !strings.Contains(r.said(), "was never in staging") {
		t.Errorf("%s", r.said())
	}
	prod := toProd(t, p, twelve)
	late := p.with(p.data(t, time.Hour, fixed("bash", "CVE-2026-90001", 30), fixed("base-files", "CVE-2026-90002", 40), fixed("dpkg", "CVE-2026-90003", 3)))

	t.Run("found since", func(t *testing.T) {
		before := p.status(t)["debian-12 prod"]
		if !before.Pass || before.Digest != twelve.Digest {
			t.Errorf("%+v", before)
		}
		waived(t, late, thirteen, key)
	})
	t.Run("breach", func(t *testing.T) { breach(t, late, prod, twelve) })
	t.Run("revoked", func(t *testing.T) { revoked(t, p, prod, key, twelve) })
}

// toProd takes a release to staging and to prod.
func toProd(t *testing.T, p plant, release factory.Release) (prod promotion) {
	t.Helper()
	for _, env := range []factory.Env{"staging", "prod"} {
		dry := p.ok(t, "promote", release.Image, "--to", string(env), "--dry-run")
		prod = p.promote(t, release.Image, env)
		tag := release.Tag
		tag.Env = env
		if prod.Digest != release.Digest || prod.Ref != release.Repository+":"+tag.String() || !strings.Contains(dry.Stdout, prod.Ref) || !prod.Decision.Pass || len(prod.Decision.Reasons) < 6 {
			t.Errorf("promoted to %+v", prod)
		}
		if checks := p.verified(t, 0, "--env", string(env), prod.Ref); !strings.Contains(checks["decision"].Detail, tag.String()+" was let in") {
			t.Errorf("%+v", checks["decision"])
		}
	}
	p.verified(t, 0, "--env", "dev", release.Tagged())
	p.refused(t, []string{"decision"}, "--env", "prod", release.Tagged()) // the tag is what was decided about
	tags := p.tags(t, release.Repository)
	for tag, digest := range tags {
		if digest != string(release.Digest) {
			t.Errorf("%s is %s", tag, digest)
		}
	}
	var ledger []factory.Entry
	p.json(t, &ledger, "ledger", release.Image)
	if len(tags) != 3 || len(ledger) != 3 || ledger[0].Env != factory.Prod || ledger[1].Env != factory.Staging || ledger[2].Env != factory.Dev || !strings.Contains(ledger[0].By, "@") || !ledger[0].Decision.Pass {
		t.Errorf("%v, ledger %+v", tags, ledger)
	}
	return prod
}

// waived: what is found late keeps a release out, with every reason; a waiver lets it in, and is told; expired, it is absent.
func waived(t *testing.T, p plant, release factory.Release, key string) {
	r := p.exits(t, 3, "promote", release.Image, "--to", "staging")
	for _, text := range []string{"CVE-2026-90001", "CVE-2026-90002"} {
		if !strings.Contains(r.said(), text) {
			t.Errorf("no word of %s:\n%s", text, r.said())
		}
	}
	if strings.Contains(r.said(), "CVE-2026-90003") {
		t.Errorf("what is not due blocks:\n%s", r.said())
	}
	if tags := p.tags(t, release.Repository); len(tags) != 1 {
		t.Errorf("tagged all the same: %v", tags)
	}
	due := p.exits(t, 3, "findings", release.Image, "--due", "7d")
	if strings.Count(due.Stdout, "CVE-2026-9000") != 3 {
		t.Errorf("%s", due.Stdout)
	}
	p.waive(t, release.Image, "CVE-2026-90001", now().AddDate(0, 0, 30))
	if r := p.exits(t, 3, "promote", release.Image, "--to", "staging"); strings.Contains(r.said(), "CVE-2026-90001") || !strings.Contains(r.said(), "CVE-2026-90002") {
		t.Errorf("%s", r.said())
	}
	p.waive(t, release.Image, "CVE-2026-90002", now().AddDate(0, 0, 30))
	staging := p.promote(t, release.Image, factory.Staging)
	if len(staging.Decision.Waived) < 2 {
		t.Errorf("waived %+v", staging.Decision.Waived)
	}
	p.verified(t, 0, "--env", "staging", staging.Ref)
	vex := attested(t, staging.Ref, key, "openvex")
	if text := strings.Join(vex, "\n"); len(vex) != 1 || strings.Count(text, "A story accepts it") != 2 || strings.Count(text, "CVE-2026-9000") < 3 {
		t.Errorf("%d documents: %.3000s", len(vex), text)
	}
	gitIn(t, p.Dir, "checkout", "-q", "baseimages")
	p.waive(t, release.Image, "CVE-2026-90001", now().AddDate(0, 0, -2))
	p.waive(t, release.Image, "CVE-2026-90002", now().AddDate(0, 0, 30))
	if r := p.exits(t, 3, "gate", release.Image, "--env", "staging"); !strings.Contains(r.Stdout, "CVE-2026-90001") || !strings.Contains(r.Stdout, "expired") && !strings.Contains(r.Stdout, "ended") {
		t.Errorf("%s", r.Stdout)
	}
	gitIn(t, p.Dir, "checkout", "-q", "baseimages")
}

// breach: a night finds what came up since in what is in production, shows it here, and tells whoever verifies.
func breach(t *testing.T, p plant, prod promotion, release factory.Release) {
	r := p.ok(t, "nightly", "--json")
	if job := nightOf(t, r).job(t, release.Image); job.Action != factory.Rescan || job.Ref != "" {
		t.Errorf("%+v", job)
	}
	if !r.saw(warned("CVE-2026-90001")) || r.saw(func(e factory.Event) bool { return strings.Contains(e.Message, "buildkitd") }) {
		t.Errorf("the night said:\n%s", r.said())
	}
	t.Logf("a night with a rescan took %.1f s", r.Took.Seconds())
	status := p.status(t)
	for _, env := range []string{"dev", "staging", "prod"} {
		if s := status["debian-12 "+env]; s.Pass || len(s.Blocking) != 2 || s.Findings[factory.Unknown] != 3 {
			t.Errorf("%s: %+v", env, s)
		}
	}
	if text := p.ok(t, "status").Stdout; !strings.Contains(text, "BREACH: ") {
		t.Errorf("%s", text)
	}
	if r := p.exits(t, 3, "gate", release.Image, "--env", "prod"); !strings.Contains(r.Stdout, "BLOCKED") || !strings.Contains(r.Stdout, "CVE-2026-90002") {
		t.Errorf("%s", r.Stdout)
	}
	for ref, lines := range map[string][]string{prod.Ref: {"decision", "provenance tag"}, release.Tagged(): {"decision"}} {
		if text := p.refused(t, lines, ref); !strings.Contains(text, "was refused") || !strings.Contains(text, "CVE-2026-90001") {
			t.Errorf("%s", text)
		}
	}
	again := p.ok(t, "nightly", "--json")
	if job := nightOf(t, again).job(t, release.Image); job.Action != factory.Keep {
		t.Errorf("the same data once more: %+v", job)
	}
}

// revoked: nobody lets it in any more, and nobody who verifies takes it, whatever they know of this factory.
func revoked(t *testing.T, p plant, prod promotion, key string, release factory.Release) {
	p.exits(t, 2, "revoke", prod.Ref)
	p.ok(t, "revoke", prod.Ref, "--reason", "it ships a key")
	for _, ref := range []string{prod.Ref, release.Ref()} {
		if c := p.verified(t, 5, ref)["revocation"]; c.OK || !strings.Contains(c.Detail, "it ships a key") {
			t.Errorf("%s: %+v", ref, c)
		}
		if r := p.elsewhere(t, "verify", "--key", key, ref); r.Exit != 5 || !strings.Contains(r.Stdout, "it ships a key") {
			t.Errorf("elsewhere %s: exit %d\n%s", ref, r.Exit, r.Stdout)
		}
	}
	for name, s := range p.status(t) {
		if s.Digest == release.Digest {
			t.Errorf("still in force: %s", name)
		}
	}
	if r := p.exits(t, 3, "gate", release.ID); !strings.Contains(r.Stdout, "it ships a key") {
		t.Errorf("%s", r.Stdout)
	}
	if r := p.exits(t, 3, "promote", release.ID, "--to", "staging"); !strings.Contains(r.said(), "revoked") && !strings.Contains(r.said(), "never in") {
		t.Errorf("%s", r.said())
	}
	if tags := p.tags(t, release.Repository); len(tags) != 3 {
		t.Errorf("what runs must be found, not hidden: %v", tags)
	}
}
