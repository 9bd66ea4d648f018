package system_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// emergency is as much of what factory emergency prints as is looked at.
type emergency struct {
	Known, DryRun bool
	Affected      []struct {
		Image, Package, Version, Offered string
		Env                              factory.Env
		Fix                              bool
	}
	Images []struct {
		Image, Error  string
		Gone          bool
		Before, After []struct {
			Env    factory.Env
			Ref    string
			Digest factory.Digest
		}
		Packages []struct{ Package, Before, After string }
		Verified []struct {
			Ref string
			OK  bool
		}
		Steps []struct {
			Phase   string
			Seconds float64
		}
	}
	Verdict string
}

// From the question to the proof with one command: nothing known, no fix, then a fix in the archive, which is built, promoted to where
// the old release is, and proven.
func TestEmergency(t *testing.T) {
	y := newYard(t)
	const image, id = "amazonlinux-2023", "CVE-2025-9230"
	y.ok(t, "lock", image, "--commit")
	y.ok(t, "build", image)
	y.serve(t)
	old := y.release(t, image)
	y.promote(t, image, factory.Staging)
	if r := y.exits(t, 2, "emergency", id); !strings.Contains(r.said(), "nobody knows "+id) {
		t.Errorf("%s", r.said())
	}
	if r := y.exits(t, 3, "emergency", id, "--package", "openssl-libs", "--dry-run"); !strings.Contains(r.said(), "no fix of "+id) {
		t.Errorf("%s", r.said())
	}

	must(t, y.archives[image].SecurityUpdate())
	var q, e emergency
	y.json(t, &q, "emergency", id, "--dry-run")
	if !q.Known || !q.DryRun || len(q.Affected) < 2 || slices.ContainsFunc(q.Affected, func(s struct {
		Image, Package, Version, Offered string
		Env                              factory.Env
		Fix                              bool
	}) bool {
		return s.Image != image || !s.Fix || s.Version == s.Offered
	}) || y.release(t, image).ID != old.ID {
		t.Fatalf("%+v", q)
	}
	y.json(t, &e, "emergency", id, "--env", "prod", "--commit")
	if len(e.Images) != 1 || e.Images[0].Error != "" || !e.Images[0].Gone {
		t.Fatalf("%+v", e)
	}
	p, now := e.Images[0], y.release(t, image)
	if len(p.Before) != 2 || len(p.After) != 2 || p.After[1].Env != factory.Staging || p.After[1].Digest != now.Digest || now.Digest == old.Digest || now.Reason != "emergency "+id {
		t.Errorf("%+v, reason %q", p, now.Reason)
	}
	if len(p.Verified) != 2 || !p.Verified[0].OK || !p.Verified[1].OK || len(p.Steps) < 8 || len(p.Packages) == 0 || p.Packages[0].Before == p.Packages[0].After {
		t.Errorf("%+v", p)
	}
	t.Logf("%s; steps %v", e.Verdict, p.Steps)
	if message := gitIn(t, y.Dir, "log", "-1", "--format=%B"); !strings.Contains(message, id) {
		t.Errorf("the commit does not say what is fixed:\n%s", message)
	}
	if r := y.ok(t, "emergency", id, "--env", "prod"); !strings.Contains(r.Stdout, "nothing in force is affected") {
		t.Errorf("%s", r.Stdout)
	}
}
