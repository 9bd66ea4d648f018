package downstream_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/tests/forge"
)

func TestEveryWayTells(t *testing.T) {
	t.Parallel()
	for how, w := range ways(t) {
		told, err := client().Tell(t.Context(), w.server, w.token, w.notice)
		if err != nil || told.Answer == "" || told.Done || w.came() != 1 {
			t.Errorf("%s: %+v, %v; it came %d times", how, told, err, w.came())
		}
		keyed := 0
		for _, r := range w.log.Requests() {
			if r.Header.Get("User-Agent") != "imagefactory" {
				t.Errorf("%s: User-Agent %q", how, r.Header.Get("User-Agent"))
			}
			if strings.Contains(r.Path+"?"+r.Query, "t0p") {
				t.Errorf("%s: the token is in a URL: %s?%s", how, r.Path, r.Query)
			}
			if r.Header.Get("Idempotency-Key") == "key-1" {
				keyed++
			}
			if how == factory.TellWebhook && strings.Contains(fmt.Sprint(r), "t0p") {
				t.Errorf("the secret of a webhook was sent: %v", r)
			}
		}
		if keyed != 1 {
			t.Errorf("%s: %d requests carry the idempotency key, want 1", how, keyed)
		}
	}
}

func TestRepositoryDispatch(t *testing.T) {
	t.Parallel()
	_, repo, server := hub(t)
	n := notice(factory.TellRepositoryDispatch)
	for i := range 3000 { // more than GitHub takes
		n.Packages = append(n.Packages, factory.PackageChange{Name: fmt.Sprint("package-", i), Old: "1", New: "2"})
		n.Fixed = append(n.Fixed, fmt.Sprint("CVE-2026-", i))
	}
	if _, err := client().Tell(t.Context(), server, token+"\n", n); err != nil {
		t.Fatal(err)
	}
	n.Dependent.Tell.Event = "rebuild"
	n.Packages, n.Fixed = nil, nil
	if _, err := client().Tell(t.Context(), server, token, n); err != nil {
		t.Fatal(err)
	}
	got := repo.Started()
	if got[0].Type != downstream.DefaultEvent || got[1].Type != "rebuild" || len(got[0].Payload) != 10 {
		t.Errorf("%s, %s with %d properties", got[0].Type, got[1].Type, len(got[0].Payload))
	}
	p := got[0].Payload
	if p["cause"] != n.Trigger.ID || p["key"] != "key-1" || p["base"] != n.Trigger.Ref || p["tag"] != "20261123-1a2b3c4d-prod" || p["before"] != n.Before {
		t.Errorf("payload: %v", p)
	}
	var changes struct {
		Packages, Fixed               []any
		PackagesLeftOut, FixedLeftOut int
	}
	b, _ := json.Marshal(p["changes"])
	if json.Unmarshal(b, &changes) != nil || len(changes.Packages) == 0 || len(changes.Packages)+changes.PackagesLeftOut != 3002 || len(changes.Fixed)+changes.FixedLeftOut != 3002 {
		t.Errorf("%d packages and %d left out, %d fixed and %d left out", len(changes.Packages), changes.PackagesLeftOut, len(changes.Fixed), changes.FixedLeftOut)
	}
	if b, _ = json.Marshal(got[1].Payload["changes"]); string(b) != `{"fixed":[],"packages":[]}` {
		t.Errorf("no changes are %s", b)
	}
	n.Dependent.Tell.Event = strings.Repeat("é", 101)
	_, err := client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "100 characters")
}

func TestWorkflowDispatch(t *testing.T) {
	t.Parallel()
	g, repo, server := hub(t)
	n := notice(factory.TellWorkflowDispatch)
	n.Dependent.Tell.Workflow = "build.yml"
	told, err := client().Tell(t.Context(), server, token, n)
	if err != nil || told.URL != "https://git.example.com/payments/api/actions/runs/1" {
		t.Fatalf("%+v, %v", told, err)
	}
	g.Older = true
	if told, err = client().Tell(t.Context(), server, token, n); err != nil || told.URL != "" {
		t.Fatalf("an older server: %+v, %v", told, err)
	}
	got := repo.Started()
	if len(got) != 2 || got[1].Ref != "main" || got[0].Payload["FACTORY_CAUSE"] != n.Trigger.ID || got[0].Payload["FACTORY_REASON"] != "packages changed: openssl" {
		t.Errorf("%+v", got)
	}
	repo.Workflow("narrow.yml", "FACTORY_BASE")
	n.Dependent.Tell.Workflow = "narrow.yml"
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "Unexpected inputs", "on: workflow_dispatch: with the inputs FACTORY_IMAGE, FACTORY_BASE")
	n.Dependent.Tell.Branch = "none"
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "No ref found for: none")
	for _, name := range []string{"", "a/b.yml", "../x", "?"} {
		n.Dependent.Tell.Workflow = name
		_, err = client().Tell(t.Context(), server, token, n)
		problem(t, err, factory.ErrInvalid, "is not the file of a workflow")
	}
}

func TestGitLab(t *testing.T) {
	t.Parallel()
	lab := &forge.GitLab{Token: token, Projects: map[string][]string{"group/sub.group/app": {"main"}}}
	url := forge.Serve(t, lab)
	n := notice(factory.TellGitLab)
	n.Dependent.Repository, n.Dependent.Tell.Branch = "group/sub.group/app", "main"
	for i, root := range []string{url, url + "/api/v4/"} {
		told, err := client().Tell(t.Context(), factory.Server{ID: "lab", URL: root}, token, n)
		if want := fmt.Sprint("https://gitlab.example.com/group/sub.group/app/-/pipelines/", i+1); err != nil || told.URL != want {
			t.Fatalf("%+v, %v", told, err)
		}
	}
	if p := lab.Pipelines()[0]; p.Ref != "main" || len(p.Variables) != 7 || p.Variables["FACTORY_BASE"] != n.Trigger.Ref || p.Variables["FACTORY_MESSAGE_KEY"] != "key-1" {
		t.Errorf("%+v", p)
	}
	if r := lab.Requests()[0]; r.Path != "/api/v4/projects/group%2Fsub.group%2Fapp/trigger/pipeline" || r.Header.Get("Private-Token") != "" {
		t.Errorf("%+v", r)
	}
	lab.Next(forge.Cut(201, `{"id": 7, "web_`))
	told, err := client().Tell(t.Context(), factory.Server{ID: "lab", URL: url}, token, n)
	if err != nil || !strings.Contains(told.Answer, "cannot be read") {
		t.Errorf("a pipeline that was made counts, whatever came of the answer: %+v, %v", told, err)
	}
	for branch, repository := range map[string]string{"": "a/b", "main": "a/../b", "x": "just-a-name"} {
		n.Dependent.Tell.Branch, n.Dependent.Repository = branch, repository
		_, err := client().Tell(t.Context(), factory.Server{ID: "lab", URL: url}, token, n)
		problem(t, err, factory.ErrInvalid)
	}
	n.Dependent.Tell.Branch, n.Dependent.Repository = "gone", "group/sub.group/app"
	_, err = client().Tell(t.Context(), factory.Server{ID: "lab", URL: url}, token, n)
	problem(t, err, factory.ErrInvalid, "Reference not found")
	_, err = client().Tell(t.Context(), factory.Server{ID: "lab", URL: url}, "another", n)
	problem(t, err, factory.ErrNotFound, "404 Not Found", "or the token may not see it")
}

func TestJenkins(t *testing.T) {
	t.Parallel()
	ci := &forge.Jenkins{User: "factory", Token: token, Crumbs: true, Jobs: map[string][]string{"team a/api": {"FACTORY_BASE", "FACTORY_CAUSE"}, "plain": nil}}
	n := notice(factory.TellJenkins)
	n.Dependent.Tell.Job = "/team a/api"
	server := factory.Server{ID: "ci", URL: forge.Serve(t, ci), User: "factory"}
	told, err := client().Tell(t.Context(), server, token, n)
	if err != nil || told.URL != server.URL+"/queue/item/1/" {
		t.Fatalf("%+v, %v", told, err)
	}
	if b := ci.Builds(); len(b) != 1 || b[0].Parameters["FACTORY_CAUSE"] != n.Trigger.ID || b[0].Parameters["FACTORY_BASE"] != n.Trigger.Ref {
		t.Errorf("%+v", b)
	}
	if got := len(ci.Requests()); got != 3 { // refused, crumb, taken
		t.Errorf("%d requests", got)
	}
	n.Dependent.Tell.Job = "plain"
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "plain is not parameterized", "string parameters")
	n.Dependent.Tell.Job = "gone"
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrNotFound, "the job is gone")
	for _, crumb := range []string{`{"crumb":"a","crumbRequestField":"Authorization"}`, `{"crumb":"a b","crumbRequestField":"X"}`, `{`} {
		ci.Next(nil, forge.Status(200, crumb, "Content-Type", "application/json"))
		n.Dependent.Tell.Job = "plain"
		_, err = client().Tell(t.Context(), server, token, n)
		problem(t, err, factory.ErrUnavailable)
	}
	for _, job := range []string{"", "a//b", "../x"} {
		n.Dependent.Tell.Job = job
		_, err = client().Tell(t.Context(), server, token, n)
		problem(t, err, factory.ErrInvalid, "is not a job")
	}
	server.User = ""
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "no user")
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	older := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hook := &forge.Hook{Verify: func(h http.Header, body []byte) error { return downstream.Verify(h, body, older, now, 0) }}
	server := factory.Server{ID: "hooks", URL: forge.Serve(t, hook) + "/in"}
	n := notice(factory.TellWebhook)
	n.Dependent.Tell.Path = "/bases"
	c := client()
	for range 2 { // delivered twice: the same id, the same bytes
		told, err := c.Tell(t.Context(), server, token+"\n"+older+"\n", n)
		if err != nil || told.Answer != "taken with 202" {
			t.Fatalf("%+v, %v", told, err)
		}
	}
	r := hook.Requests()
	if len(hook.Bodies()) != 1 || r[0].Body != r[1].Body || r[0].Path != "/in/bases" || r[0].Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("%+v", r)
	}
	if r[0].Header.Get("Webhook-Key-Id") != downstream.KeyID(token)+" "+downstream.KeyID(older) || r[0].Header.Get("Authorization") != "" {
		t.Errorf("%v", r[0].Header)
	}
	var e map[string]any
	if err := json.Unmarshal([]byte(hook.Bodies()[0]), &e); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]any{"specversion": "1.0", "id": "key-1", "type": downstream.EventType, "source": "imagefactory", "subject": n.Trigger.Ref, "time": "2026-11-23T08:00:00Z", "datacontenttype": "application/json"} {
		if e[k] != v {
			t.Errorf("%s is %v, want %v", k, e[k], v)
		}
	}
	if data := e["data"].(map[string]any); data["cause"] != n.Trigger.ID || data["base"] != n.Trigger.Ref {
		t.Errorf("%v", data)
	}
	_, err := c.Tell(t.Context(), server, "another-secret-of-them", n)
	problem(t, err, factory.ErrUnverified, "401", "compare the secrets")
	_, err = c.Tell(t.Context(), server, "short", n)
	problem(t, err, factory.ErrInvalid, "fewer than 16", "openssl rand")
	for _, path := range []string{"/a?b", "a/../b", "/x#y"} {
		n.Dependent.Tell.Path = path
		_, err = c.Tell(t.Context(), server, token, n)
		problem(t, err, factory.ErrInvalid, "not a path")
	}
	n.Dependent.Tell.Path = ""
	_, err = (&downstream.Client{}).Tell(t.Context(), server, token, n)
	if err == nil || !strings.Contains(err.Error(), "no clock") {
		t.Errorf("without a clock: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	g := &forge.GitHub{Token: token}
	g.Add("payments/api", map[string]string{"Dockerfile": "FROM " + oldFrom})
	s := httptest.NewTLSServer(g)
	t.Cleanup(s.Close)
	server := factory.Server{ID: "git", URL: s.URL}
	if _, err := (&downstream.Client{Transport: s.Client().Transport}).Tell(t.Context(), server, token, notice(factory.TellPullRequest)); err != nil {
		t.Error(err)
	}
	_, err := client().Tell(t.Context(), server, token, notice(factory.TellPullRequest))
	problem(t, err, factory.ErrUnverified, "certificate is not trusted", "install its CA")
}
