package definition_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const (
	policyYAML = "baseimages/policy.yaml"
	packYAML   = "baseimages/packs/quick.yaml"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	got, err := definition.Policies(write(t, fixture()))
	if err != nil {
		t.Fatal(err)
	}
	base := factory.Policy{
		Env: factory.Dev, Pack: "quick", Source: "A Standard (2026-01-02), https://example.com/standard",
		Deadlines: map[factory.Severity]int{factory.Critical: 3, factory.High: 7, factory.Low: 180},
		Clock:     factory.FromFixAvailable, Unknown: factory.High, Tests: true, EndOfLife: "warn",
		Compliance: []factory.Floor{{View: factory.ContainerView, Level: 1, MinApplicable: 90}, {View: factory.ContainerView, Level: 2, MaxFail: 1, MinApplicable: 100}},
		Database:   factory.DatabaseDemand{Kinds: []factory.DatabaseKind{factory.ArchiveDatabase, factory.TrivyDatabase}, MaxAge: 48},
		Where:      factory.Position{File: policyYAML, Line: 2, Column: 3},
	}
	staging := base
	staging.Env, staging.Committed, staging.Where.Line = factory.Staging, true, 12
	prod := staging
	prod.Env, prod.Clock, prod.Unknown, prod.Compliance, prod.EndOfLife, prod.Where.Line = factory.Prod, factory.FromPublished, factory.Unknown, nil, "block", 15
	prod.Database = factory.DatabaseDemand{Kinds: []factory.DatabaseKind{factory.TrivyDatabase}, MaxAge: 24, ArchiveMaxAge: 168}
	digests := map[factory.Digest]bool{}
	for env, want := range map[factory.Env]factory.Policy{factory.Dev: base, factory.Staging: staging, factory.Prod: prod} {
		p := got[env]
		digests[p.Digest] = true
		want.Digest = p.Digest
		if !reflect.DeepEqual(p, want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", env, p, want)
		}
	}
	if len(digests) != 3 || digests[""] {
		t.Errorf("digests %v", digests)
	}
}

// The digest is of what is demanded, not of how it is written.
func TestPolicyDigest(t *testing.T) {
	t.Parallel()
	digest := func(files map[string]string) factory.Digest {
		t.Helper()
		all, err := definition.Policies(write(t, files))
		if err != nil {
			t.Fatal(err)
		}
		return all[factory.Staging].Digest
	}
	plain := digest(fixture())
	for _, c := range []struct {
		file, old, new string
		same           bool
	}{
		{policyYAML, "dev:\n", "# why\ndev:\n", true},
		{policyYAML, "[trivy, archive], maxAge: 48h", "[archive, trivy], maxAge: 2d", true},
		{policyYAML, "  tests: true\n  committed: false\n", "  committed: false\n  tests: true\n", true},
		{policyYAML, "  like: dev\n", "  like: dev\n  clock: fix-available\n", true},
		{policyYAML, "maxAge: 48h", "maxAge: 49h", false},
		{policyYAML, "unknown: high", "unknown: low", false},
		{policyYAML, "minApplicable: 90", "minApplicable: 91", false},
		{packYAML, "critical: 3", "critical: 2", false},
		{packYAML, "clock: fix-available", "clock: first-seen", false},
	} {
		if got := digest(edited(t, c.file, c.old, c.new)); (got == plain) != c.same {
			t.Errorf("%q for %q: same is %t", c.new, c.old, got == plain)
		}
	}
}

// Load tells them with everything else, and holds no image responsible.
func TestRefusePolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, old, new, want string }{
		{"unknown key", policyYAML, "unknown: high", "unkown: high", `policy.yaml:3:3: unknown key "unkown" in dev (did you mean unknown?)`},
		{"unknown environment", policyYAML, "staging:", "stageing:", `policy.yaml:11:1: unknown key "stageing" (did you mean staging?)`},
		{"environment missing", policyYAML, "staging:\n  like: dev\n  committed: true\n", "", `policy.yaml:1:1: key "staging" is missing (add staging: with like: or with all of its demands)`},
		{"demand missing", policyYAML, "  tests: true\n", "", `policy.yaml:2:3: key "tests" is missing in dev (add tests: Acceptance tests must have run`},
		{"floors missing", policyYAML, "  compliance:\n    - {view: container, level: 2, maxFail: 1, minApplicable: 100}\n    - {view: container, level: 1, maxFail: 0, minApplicable: 90}\n", "", `policy.yaml:2:3: key "compliance" is missing in dev (add compliance: with its floors, or compliance: [] when it demands none)`},
		{"floor of nothing", policyYAML, "minApplicable: 90", "minApplicable: 0", `policy.yaml:6:62: dev.compliance.minApplicable: expected a whole number from 1 to 10000, found a whole number "0"`},
		{"floor twice", policyYAML, "level: 1,", "level: 2,", `policy.yaml:6:7: compliance: container level 2 is there twice, first in line 5 (keep one of them)`},
		{"view", policyYAML, "view: container", "view: machine", `dev.compliance.view: expected container or extended, found "machine"`},
		{"unknown pack", policyYAML, "pack: quick", "pack: quik", `policy.yaml:2:9: pack: there is no baseimages/packs/quik.yaml (did you mean quick?)`},
		{"pack elsewhere", policyYAML, "pack: quick", "pack: ../../x", `policy.yaml:2:9: dev.pack: expected the name of a file in baseimages/packs`},
		{"pack is broken", packYAML, "critical: 3", "critical: three", `policy.yaml:2:9: pack: baseimages/packs/quick.yaml cannot be used (mend that file first)`},
		{"unknown severity", policyYAML, "unknown: high", "unknown: medium", `policy.yaml:3:12: dev.unknown: expected critical or high or moderate or low or never, found "medium"`},
		{"age", policyYAML, "maxAge: 48h", "maxAge: 48", `dev.database.maxAge: expected an age in hours or days, like 48h or 7d, found a whole number`},
		{"no kind", policyYAML, "[trivy, archive]", "[]", `dev.database.kinds: expected at least one entry`},
		{"kind", policyYAML, "[trivy, archive]", "[trivi]", `dev.database.kinds: expected trivy or archive, found "trivi" (did you mean trivy?)`},
		{"like itself", policyYAML, "dev:\n", "dev:\n  like: dev\n", `policy.yaml:2:9: dev: cannot be like dev (name an environment that comes before it: dev, staging, prod)`},
		{"like prod", policyYAML, "like: dev", "like: prod", `policy.yaml:12:9: staging.like: expected dev or staging, found "prod"`},
		{"like a later one", policyYAML, "like: dev", "like: staging", `policy.yaml:12:9: staging: cannot be like staging`},
		{"not a mapping", policyYAML, "  like: dev\n  committed: true\n", "  strict\n", `policy.yaml:12:3: staging: expected a mapping with like, pack, clock`},
		{"a list", policyYAML, "dev:\n  pack: quick\n", "- a\n", `policy.yaml:`},
		{"pack under another name", packYAML, "pack: quick", "pack: quack", `quick.yaml:1:7: pack: expected the file's own name, found quack (write quick)`},
		{"pack without source", packYAML, "title: A Standard, ", "", `quick.yaml:2:9: key "title" is missing in source`},
		{"source elsewhere", packYAML, "https://", "http://", `source.url: expected an https URL, found "http://example.com/standard"`},
		{"days", packYAML, "critical: 3", "critical: -1", `quick.yaml:4:23: deadlines.critical: expected a whole number from 0 to 3650`},
		{"worse ones later", packYAML, "critical: 3", "critical: 30", `quick.yaml:4:33: deadlines: high has 7 days, a worse severity has 30 (give the worse ones the shorter deadline)`},
		{"no deadlines", packYAML, "{critical: 3, high: 7, low: 180}", "{}", `quick.yaml:4:12: deadlines: no severity has one, so nothing would ever block`},
		{"unknown in a pack", packYAML, "low: 180", "unknown: 180", `unknown key "unknown" in deadlines`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, edited(t, c.file, c.old, c.new))
			set, err := definition.Load(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if len(set.Images) != 2 {
				t.Errorf("images are broken by a policy: %v", set.Broken)
			}
			all, perr := definition.Policies(dir)
			if all != nil || perr == nil || perr.Error() != err.Error() || !errors.Is(perr, factory.ErrInvalid) {
				t.Errorf("Policies says %v", perr)
			}
		})
	}
}

// What dev lacks is told once, not for each environment that is like it.
func TestPolicyProblemsAreToldOnce(t *testing.T) {
	t.Parallel()
	for _, old := range []string{"  tests: true\n", "  pack: quick\n", ", maxAge: 48h"} {
		_, err := definition.Policies(write(t, edited(t, policyYAML, old, "")))
		if all := factory.Problems(err); len(all) != 1 {
			t.Errorf("without %q: %v", old, all)
		}
	}
}

func TestPolicyFiles(t *testing.T) {
	t.Parallel()
	files := fixture()
	delete(files, policyYAML)
	dir := write(t, files)
	if _, err := definition.Load(dir); err != nil {
		t.Errorf("a repository without policies cannot be read: %v", err)
	}
	if _, err := definition.Policies(dir); err == nil || !strings.Contains(err.Error(), "baseimages/policy.yaml: the file is missing") {
		t.Error(err)
	}
	files = fixture()
	files[policyYAML] = "# nothing\n"
	if all, err := definition.Policies(write(t, files)); all != nil || len(factory.Problems(err)) != 3 || !strings.Contains(err.Error(), `baseimages/policy.yaml:1:1: key "dev" is missing`) {
		t.Errorf("an empty file: %v %v", all, err)
	}
	files = fixture()
	files["baseimages/packs/Notes.txt"] = "x"
	if _, err := load(t, files); err == nil || !strings.Contains(err.Error(), "baseimages/packs/Notes.txt: expected a file <name>.yaml") {
		t.Error(err)
	}
	files = fixture()
	files["baseimages/packs/other.yaml"] = "-> quick.yaml"
	if _, err := load(t, files); err == nil || !strings.Contains(err.Error(), "baseimages/packs/other.yaml: expected a file <name>.yaml") {
		t.Error(err)
	}
	if _, err := definition.Policies(dir + "/none"); !errors.Is(err, factory.ErrNotFound) {
		t.Error(err)
	}
}

// A floor for one family stands beside the one for all others; what becomes of an image without content can be said.
func TestPoliciesByFamily(t *testing.T) {
	t.Parallel()
	files := fixture()
	files["baseimages/policy.yaml"] = strings.Replace(files["baseimages/policy.yaml"], "  tests: true\n",
		"    - {family: redhat, view: container, level: 1, maxFail: 2, minApplicable: 60}\n  noContent: warn\n  tests: true\n", 1)
	all, err := definition.Policies(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	dev := all[factory.Dev]
	want := []factory.Floor{
		{View: factory.ContainerView, Level: 1, MinApplicable: 90},
		{Family: factory.RedHat, View: factory.ContainerView, Level: 1, MaxFail: 2, MinApplicable: 60},
		{View: factory.ContainerView, Level: 2, MaxFail: 1, MinApplicable: 100},
	}
	if !slices.Equal(dev.Compliance, want) {
		t.Errorf("floors %+v, want %+v", dev.Compliance, want)
	}
	if dev.NoContent != "warn" || all[factory.Staging].NoContent != "warn" {
		t.Errorf("without content: dev %q, staging %q", dev.NoContent, all[factory.Staging].NoContent)
	}
}
