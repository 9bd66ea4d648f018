package definition_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const repository = "../.."

// The definitions that this repository ships are in order.
func TestRepository(t *testing.T) {
	set, err := definition.Load(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"debian-12", "debian-13", "toolbox"} {
		img, err := set.Image(name)
		if err != nil {
			t.Fatal(err)
		}
		if img.Owner.Team == "" || len(img.Owner.Contacts) == 0 {
			t.Errorf("%s has no owner", name)
		}
		if _, digest, err := definition.Pack(repository, img); err != nil || digest == "" {
			t.Errorf("packing %s: %v", name, err)
		}
	}
	debian, _ := set.Image("debian-12")
	if debian.Hardening.Profile == "" || !debian.Tests.NonRoot || len(debian.Tests.Setuid) == 0 || debian.Config.User != "65532:65532" {
		t.Errorf("debian-12 lost what it shares: %+v", debian)
	}
	if box, _ := set.Image("toolbox"); box.Kind != factory.KindToolbox || len(box.Archives) != 4 {
		t.Errorf("toolbox: %+v", box)
	}
}

// So are its policies: each later environment is at least as strict, and every pack can be used.
func TestRepositoryPolicies(t *testing.T) {
	all, err := definition.Policies(repository)
	if err != nil {
		t.Fatal(err)
	}
	dev, staging, prod := all[factory.Dev], all[factory.Staging], all[factory.Prod]
	if want := map[factory.Severity]int{factory.Critical: 3, factory.High: 7, factory.Moderate: 21, factory.Low: 180}; !maps.Equal(dev.Deadlines, want) || !maps.Equal(prod.Deadlines, want) {
		t.Errorf("deadlines: %v", dev.Deadlines)
	}
	if dev.Committed || !staging.Committed || !prod.Committed || !dev.Tests || !prod.Tests || dev.EndOfLife != "warn" || prod.EndOfLife != "block" || dev.NoContent != "warn" || prod.NoContent != "block" {
		t.Errorf("dev %+v\nstaging %+v\nprod %+v", dev, staging, prod)
	}
	if prod.Database.MaxAge != 24 || dev.Database.MaxAge < prod.Database.MaxAge || !slices.Contains(dev.Database.Kinds, factory.ArchiveDatabase) || dev.Unknown != factory.High {
		t.Errorf("data: dev %+v, prod %+v", dev.Database, prod.Database)
	}
	for _, p := range all {
		// three evaluations, for each of three families, and one image with little to look at
		if len(p.Compliance) != 3*3+1 || slices.ContainsFunc(p.Compliance, func(f factory.Floor) bool {
			return f.MaxFail > 0 || f.MinApplicable < 30 && f.Image != "debian-12-static" || f.MinApplicable < 25
		}) {
			t.Errorf("%s: %+v", p.Env, p.Compliance)
		}
	}
	for pack, days := range map[string][4]int{"fedramp-rev5": {30, 30, 90, 180}, "fedramp-vdr": {2, 4, 16, 48}} {
		dir := t.TempDir()
		if err := os.CopyFS(dir+"/baseimages/packs", os.DirFS(repository+"/baseimages/packs")); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(repository + "/baseimages/policy.yaml")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "pack: default", "pack: "+pack)
		if err := os.WriteFile(dir+"/baseimages/policy.yaml", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		all, err := definition.Policies(dir)
		if err != nil {
			t.Fatal(err)
		}
		d := all[factory.Prod].Deadlines
		if got := [4]int{d[factory.Critical], d[factory.High], d[factory.Moderate], d[factory.Low]}; got != days || all[factory.Prod].Clock != factory.FromFirstSeen {
			t.Errorf("%s: %v", pack, got)
		}
	}
}
