package downstream_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/tests/forge"
)

const (
	token = "t0p-s3cret+token/with=signs"
	base  = "registry.example.com/base/debian-12"
)

var (
	now       = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	oldDigest = "sha256:" + strings.Repeat("0a", 32)
	newDigest = "sha256:" + strings.Repeat("1b", 32)
	oldFrom   = base + ":20261120-0a0a0a0a-prod@" + oldDigest
	newFrom   = base + ":20261123-1a2b3c4d-prod@" + newDigest
)

// notice is of a new debian-12 in prod.
func notice(how factory.TellHow) factory.Notice {
	return factory.Notice{
		Trigger: factory.Trigger{
			ID: "20261123-080000-aaaaaa", Key: "key-1", Dependent: "payments-api", Image: "debian-12", Release: "r1", Ref: base + "@" + newDigest,
			Tag: tag("20261123-1a2b3c4d-prod"), Env: factory.Prod, Reason: "packages changed:\n openssl", Created: now.Add(-time.Hour),
		},
		Dependent: factory.Dependent{
			Name: "payments-api", Repository: "payments/api", Image: "debian-12", Env: factory.Prod, Owner: "payments",
			Tell: factory.Tell{How: how, Server: "git"}, Where: factory.Position{File: "baseimages/dependents.yaml", Line: 3},
		},
		Before:   base + "@" + oldDigest,
		Packages: []factory.PackageChange{{Name: "openssl", Old: "3.0.15", New: "3.0.16", CVEs: []string{"CVE-2026-1234"}}, {Name: "left|over`", Old: "1"}},
		Fixed:    []string{"CVE-2026-1234", "CVE-2026-2345"},
	}
}

func tag(s string) factory.Tag {
	t, err := factory.ParseTag(s)
	if err != nil {
		panic(err)
	}
	return t
}

func clock() time.Time { return now }

// said collects events.
type said struct {
	mu   sync.Mutex
	text []string
}

func (s *said) hear(e factory.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, e.Message)
}

func (s *said) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.text, "\n")
}

// way is one way to tell with a server that takes it.
type way struct {
	notice factory.Notice
	server factory.Server
	token  string
	log    *forge.Log
	came   func() int // how often it was told
}

func hub(t *testing.T) (*forge.GitHub, *forge.Repo, factory.Server) {
	t.Helper()
	g := &forge.GitHub{Token: token, Prefix: "/api/v3"}
	r := g.Add("payments/api", map[string]string{"Dockerfile": "FROM " + oldFrom + "\nRUN true\n"})
	r.Workflow("build.yml", "FACTORY_IMAGE", "FACTORY_BASE", "FACTORY_TAG", "FACTORY_BASE_ENV", "FACTORY_REASON", "FACTORY_CAUSE", "FACTORY_MESSAGE_KEY")
	return g, r, factory.Server{ID: "git", URL: forge.Serve(t, g) + "/api/v3/"}
}

// ways are all of them, each with a server of its own.
func ways(t *testing.T) map[factory.TellHow]way {
	t.Helper()
	all := map[factory.TellHow]way{}
	for _, how := range []factory.TellHow{factory.TellRepositoryDispatch, factory.TellWorkflowDispatch, factory.TellPullRequest} {
		g, r, server := hub(t)
		n := notice(how)
		n.Dependent.Tell.Workflow = "build.yml"
		came := func() int { return len(r.Started()) }
		if how == factory.TellPullRequest {
			came = func() int { return len(r.Pulls()) }
		}
		all[how] = way{n, server, token, &g.Log, came}
	}
	lab := &forge.GitLab{Token: token, Projects: map[string][]string{"payments/api": {"main"}}}
	n := notice(factory.TellGitLab)
	n.Dependent.Tell.Branch = "main"
	all[n.Dependent.Tell.How] = way{n, factory.Server{ID: "git", URL: forge.Serve(t, lab)}, token, &lab.Log, func() int { return len(lab.Pipelines()) }}

	ci := &forge.Jenkins{User: "factory", Token: token, Jobs: map[string][]string{"team a/api": {"FACTORY_BASE", "FACTORY_CAUSE"}}}
	n = notice(factory.TellJenkins)
	n.Dependent.Tell.Job = "team a/api"
	all[n.Dependent.Tell.How] = way{n, factory.Server{ID: "git", URL: forge.Serve(t, ci), User: "factory"}, token, &ci.Log, func() int { return len(ci.Builds()) }}

	hook := &forge.Hook{}
	n = notice(factory.TellWebhook)
	n.Dependent.Tell.Path = "hooks/bases"
	all[n.Dependent.Tell.How] = way{n, factory.Server{ID: "git", URL: forge.Serve(t, hook)}, token, &hook.Log, func() int { return len(hook.Bodies()) }}
	return all
}

func client() *downstream.Client { return &downstream.Client{Now: clock} }

// problem fails unless err is one of a kind, at the dependent's place, that says these things.
func problem(t *testing.T, err, kind error, says ...string) {
	t.Helper()
	p, is := errors.AsType[*factory.Problem](err)
	if !is || !errors.Is(err, kind) {
		t.Fatalf("got %v, want %v", err, kind)
	}
	if p.Where.Line != 3 {
		t.Errorf("%v says no place", err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in: %v", s, err)
		}
	}
}
