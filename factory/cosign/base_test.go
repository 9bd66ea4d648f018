package cosign

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func builtOn() factory.Locked {
	tag, _ := factory.ParseTag("20261123-1a2b3c4d-dev")
	return factory.Locked{
		Job:  factory.Job{Parent: &factory.Base{Image: "debian-12", Release: "r1", Repository: "registry.example.com:5000/base/debian-12", Digest: factory.DigestOf([]byte("base")), Tag: tag}},
		Lock: factory.Lock{Parent: &factory.LockedParent{Image: "debian-12", Lock: factory.DigestOf([]byte("lock"))}},
	}
}

// A child's provenance names the release that it is built on, and that one's lock.
func TestProvenanceNamesTheBase(t *testing.T) {
	t.Parallel()
	got := base(builtOn())
	if len(got) != 2 || got[0].Name != "base" || got[0].Digest["sha256"] != factory.DigestOf([]byte("base")).Hex() || got[0].Annotations["release"] != "r1" ||
		got[0].URI != "pkg:oci/debian-12@sha256%3A"+factory.DigestOf([]byte("base")).Hex()+"?repository_url=registry.example.com%3A5000%2Fbase%2Fdebian-12&tag=20261123-1a2b3c4d-dev" {
		t.Errorf("%+v", got)
	}
	if got[1].Name != "base-lock" || got[1].Digest["sha256"] != factory.DigestOf([]byte("lock")).Hex() {
		t.Errorf("%+v", got[1])
	}
	if got := base(factory.Locked{}); len(got) != 0 {
		t.Errorf("a base of packages alone: %+v", got)
	}
	all, err := dependencies(factory.Tested{Packed: factory.Packed{Hardened: factory.Hardened{Built: factory.Built{Locked: builtOn()}}}})
	if err != nil || !slices.ContainsFunc(all, func(r resource) bool { return r.Name == "base" }) {
		t.Errorf("%+v %v", all, err)
	}
}

// What an image says it is built on has to be what it was built on.
func TestVerifyTheBase(t *testing.T) {
	t.Parallel()
	digest := string(factory.DigestOf([]byte("base")))
	notes := map[string]string{baseDigestNote: digest, baseNameNote: "registry.example.com/debian-12:1"}
	for name, c := range map[string]struct {
		made  []resource
		parts []part
		ok    bool
		says  string // empty = no check at all
	}{
		"a child":       {base(builtOn()), []part{{name: "the index", notes: notes}, {name: "linux/amd64", notes: notes}}, true, "registry.example.com/debian-12:1, " + digest},
		"packages":      {nil, []part{{name: "the index"}}, false, ""},
		"says nothing":  {base(builtOn()), []part{{name: "the index", notes: notes}, {name: "linux/amd64"}}, false, "linux/amd64 says nothing"},
		"says another":  {base(builtOn()), []part{{name: "the index", notes: map[string]string{baseDigestNote: "sha256:other"}}}, false, "the index says other"},
		"says too much": {nil, []part{{name: "the index", notes: notes}}, false, "the provenance says nothing"},
	} {
		v := &verification{parts: c.parts, made: &statement[provenance]{}}
		v.made.Predicate.BuildDefinition.ResolvedDependencies = c.made
		v.base()
		if c.says == "" && len(v.checks) > 0 || c.says != "" && (len(v.checks) != 1 || v.checks[0].OK != c.ok || !strings.Contains(v.checks[0].Detail, c.says)) {
			t.Errorf("%s: %+v", name, v.checks)
		}
	}
}
