package definition_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const dependentsYAML = "baseimages/dependents.yaml"

const everyWay = `dependents:
  - {name: web, repository: shop/web, image: small, env: prod, owner: linux, tell: {how: webhook, server: hooks, path: in/small}}
  - name: api
    repository: payments/api
    image: small
    env: prod
    owner: linux
    canary: true
    publishes: ["registry.example.com:5000/payments/api", registry.example.com/a]
    tell: {how: github-pull-request, server: git, branch: release/1, files: [Dockerfile, images/b.Dockerfile]}
  - {name: a, repository: a/a, image: small, env: dev, owner: linux, tell: {how: github-repository-dispatch, server: git, event: base-image}}
  - {name: b, repository: a/b, image: small, env: dev, owner: linux, tell: {how: github-workflow-dispatch, server: git, workflow: build.yml}}
  - {name: c, repository: group/sub/c, image: small, env: staging, owner: linux, tell: {how: gitlab-pipeline, server: lab, branch: main}}
  - {name: d, repository: d, image: small, env: dev, owner: linux, tell: {how: jenkins, server: ci, job: folder/job}}
`

func withDependents(text string) map[string]string {
	files := fixture()
	files[dependentsYAML] = text
	return files
}

func TestDependents(t *testing.T) {
	t.Parallel()
	set, err := definition.Load(write(t, withDependents(everyWay)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range set.Dependents {
		names = append(names, d.Name)
	}
	want := factory.Dependent{Name: "api", Repository: "payments/api", Image: "small", Env: factory.Prod, Owner: "linux", Canary: true,
		Publishes: []string{"registry.example.com/a", "registry.example.com:5000/payments/api"}, Where: factory.Position{File: dependentsYAML, Line: 3, Column: 5},
		Tell: factory.Tell{How: factory.TellPullRequest, Server: "git", Branch: "release/1", Files: []string{"Dockerfile", "images/b.Dockerfile"}}}
	if strings.Join(names, " ") != "a api b c d web" || !reflect.DeepEqual(set.Dependents[1], want) {
		t.Errorf("%v\n%+v\nwant\n%+v", names, set.Dependents[1], want)
	}
	for _, none := range []string{"# nobody yet\n", "dependents: []\n"} {
		if set, err := definition.Load(write(t, withDependents(none))); err != nil || len(set.Dependents) != 0 {
			t.Errorf("%q: %v, %+v", none, err, set.Dependents)
		}
	}
}

// Each mistake is told, and costs the one who made it alone.
func TestDependentsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, new, want, lost string }{
		{"unknown image", "image: small, env: prod", "image: smal, env: prod", `dependents.yaml:2:46: dependents: no image "smal" in baseimages (did you mean small?)`, "web"},
		{"unknown owner", "owner: linux\n", "owner: linus\n", `dependents.yaml:7:12: dependents: unknown team "linus", expected one of owners.yaml (did you mean linux?)`, "api"},
		{"name twice", "name: b,", "name: a,", `dependents: the name a is taken in line 11 (choose another name)`, "b"},
		{"no name", "name: d, ", "", `key "name" is missing in dependents`, "d"},
		{"unknown way", "how: jenkins", "how: jenkin", "tell.how: expected github-repository-dispatch or", "d"},
		{"unknown key", "job: folder/job", "jobs: folder/job", `unknown key "jobs"`, "d"},
		{"no server", "server: ci, ", "", `key "server" is missing`, "d"},
		{"a URL for a server", "server: ci", `server: "https://ci.example.com"`, "its URL is configuration", "d"},
		{"no job", ", job: folder/job", "", `tell: jenkins needs "job" (add job:)`, "d"},
		{"no workflow", ", workflow: build.yml", "", `tell: github-workflow-dispatch needs "workflow"`, "b"},
		{"no branch", ", branch: main", "", `tell: gitlab-pipeline needs "branch"`, "c"},
		{"not its key", "path: in/small", "job: in/small", "tell.job: webhook has none (remove it)", "web"},
		{"not its files", "event: base-image", "files: [Dockerfile]", "tell.files: github-repository-dispatch has none", "a"},
		{"climbs out", "files: [Dockerfile, images/b.Dockerfile]", "files: [../Dockerfile]", "write it without . and ..", "api"},
		{"absolute", "path: in/small", "path: /in/small", "expected a relative path", "web"},
		{"climbing repository", "repository: shop/web", "repository: shop/../web", "write it without . and ..", "web"},
		{"tagged", "registry.example.com/a]", `"registry.example.com/a:1"]`, "repository without a tag", "api"},
		{"other env", "env: staging", "env: test", "dependents.env: expected dev or staging or prod", "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(everyWay, c.old, c.new, 1)
			set, err := definition.Load(write(t, withDependents(text)))
			if text == everyWay || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			for _, d := range set.Dependents {
				if d.Name == c.lost && d.Where.Line > 1 && c.name != "name twice" {
					t.Errorf("%s is there all the same", d.Name)
				}
			}
			if len(set.Dependents) != 5 || len(set.Images) != 2 {
				t.Errorf("%d dependents, %d images", len(set.Dependents), len(set.Images))
			}
		})
	}
	if _, err := definition.Load(write(t, withDependents("dependents: 7\n"))); err == nil {
		t.Error("a number is a list")
	}
	if _, err := definition.Load(write(t, withDependents("-> ../x"))); err == nil {
		t.Error("a link is a file")
	}
}

func TestDependentsSchema(t *testing.T) {
	t.Parallel()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(definition.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json#/$defs/dependents")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{everyWay: true, strings.Replace(everyWay, "canary:", "canry:", 1): false, strings.Replace(everyWay, "how: jenkins", "how: x", 1): false,
		strings.Replace(everyWay, "name: web, ", "", 1): false} {
		b, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != want {
			t.Errorf("%.80q: %v", text, err)
		}
	}
}
