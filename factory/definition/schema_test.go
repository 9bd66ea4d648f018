package definition_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagefactory/imagefactory/factory/definition"
)

func TestSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile(repository + "/baseimages/schema.json")
	if err != nil || !bytes.Equal(committed, definition.Schema()) {
		t.Fatalf("baseimages/schema.json is stale (%v); refresh it: go run ./cmd/factory schema > baseimages/schema.json", err)
	}
}

// The schema accepts what Load accepts and refuses what an editor should mark.
func TestSchema(t *testing.T) {
	t.Parallel()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(definition.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	valid := func(t *testing.T, part, text string) error {
		t.Helper()
		schema, err := compiler.Compile("schema.json" + part)
		if err != nil {
			t.Fatal(err)
		}
		b, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	read := func(name string) string {
		b, err := os.ReadFile(repository + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct{ part, text string }{
		{"", fixture()[imageYAML]}, {"#/$defs/tests", fixture()[testsYAML]}, {"#/$defs/waivers", fixture()[waiversYAML]},
		{"#/$defs/owners", fixture()[ownersYAML]}, {"#/$defs/shared", fixture()[sharedYAML]}, {"#/$defs/profile", fixture()[profileYAML]},
		{"#/$defs/policy", fixture()[policyYAML]}, {"#/$defs/pack", fixture()[packYAML]}, {"#/$defs/policy", read(policyYAML)},
		{"#/$defs/pack", read("baseimages/packs/default.yaml")}, {"#/$defs/pack", read("baseimages/packs/fedramp-rev5.yaml")}, {"#/$defs/pack", read("baseimages/packs/fedramp-vdr.yaml")},
		{"#/$defs/waivers", read("baseimages/debian-12/waivers.yaml")}, {"#/$defs/waivers", read("baseimages/debian-13/waivers.yaml")},
		{"", read("baseimages/debian-12/image.yaml")}, {"", read("baseimages/toolbox/image.yaml")},
		{"#/$defs/shared", read("baseimages/shared/debian.yaml")}, {"#/$defs/owners", read(ownersYAML)},
	} {
		if err := valid(t, c.part, c.text); err != nil {
			t.Errorf("%s refuses %.60q: %v", c.part, c.text, err)
		}
	}
	for _, c := range []struct{ old, new string }{
		{"summary:", "sumary:"}, {"kind: base", "kind: bass"}, {`release: "12"`, "release: 12"}, {"tzdata]", "tzdata=1]"},
		{"uid: 65532, ", ""}, {"level: 1", "level: 3"}, {"until: 2026-12-31", "until: never"}, {"LANG: C", "LANG-X: C"},
		{"[ca-certificates, tzdata]", "[tzdata, tzdata]"}, {"cis_days: 90", "cis_days: {a: 1}"}, {"id: debian,", "id: http://x,"},
	} {
		text := strings.Replace(fixture()[imageYAML], c.old, c.new, 1)
		if text == fixture()[imageYAML] || valid(t, "", text) == nil {
			t.Errorf("the schema accepts %q for %q", c.new, c.old)
		}
	}
	for _, c := range []struct{ part, file, old, new string }{
		{"policy", policyYAML, "unknown: high", "unknown: medium"}, {"policy", policyYAML, "maxAge: 48h", "maxAge: 48"}, {"policy", policyYAML, "like: dev", "like: prod"},
		{"policy", policyYAML, "level: 2,", "level: 3,"}, {"pack", packYAML, "critical: 3", "critical: -3"}, {"pack", packYAML, "title: A Standard, ", ""},
		{"waivers", waiversYAML, "CVE-2026-1234", "cve-2026-1234"}, {"waivers", waiversYAML, "image: small\n", ""}, {"waivers", waiversYAML, "by: linux", "by: linux, justification: no"},
	} {
		if text := strings.Replace(fixture()[c.file], c.old, c.new, 1); text == fixture()[c.file] || valid(t, "#/$defs/"+c.part, text) == nil {
			t.Errorf("the schema of %s accepts %q for %q", c.part, c.new, c.old)
		}
	}
}
