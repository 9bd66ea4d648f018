package downstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/tests/forge"
)

// told is a dependent that was told, and is watched.
type told struct {
	t      *testing.T
	notice factory.Notice
	server factory.Server
	token  string
}

func tell(t *testing.T, server factory.Server, token string, n factory.Notice) *told {
	t.Helper()
	is, err := client().Tell(t.Context(), server, token, n)
	if err != nil {
		t.Fatal(err)
	}
	n.Trigger.Handle = is.Handle
	return &told{t, n, server, token}
}

// sees looks, and fails unless that shows done, failed or neither (running), with these words.
func (w *told) sees(stands string, says ...string) factory.Seen {
	w.t.Helper()
	seen, err := client().Watch(w.t.Context(), w.server, w.token, w.notice)
	is := map[[2]bool]string{{}: "running", {true, false}: "done", {false, true}: "failed", {true, true}: "both"}[[2]bool{seen.Done, seen.Failed}]
	if err != nil || !seen.Known || is != stands {
		w.t.Fatalf("%s: %+v, %v, want %s", is, seen, err, stands)
	}
	for _, s := range says {
		if !strings.Contains(seen.Answer+" "+seen.URL, s) {
			w.t.Errorf("%q is missing in %+v", s, seen)
		}
	}
	if seen.Handle != "" {
		w.notice.Trigger.Handle = seen.Handle
	}
	return seen
}

// cannot looks, and must learn nothing.
func (w *told) cannot(kind error, says ...string) factory.Seen {
	w.t.Helper()
	seen, err := client().Watch(w.t.Context(), w.server, w.token, w.notice)
	problem(w.t, err, kind, says...)
	if !seen.Known || seen.Done || seen.Failed {
		w.t.Errorf("%+v", seen)
	}
	return seen
}

// out is a server's trouble, of every kind; nothing is known by it.
func (w *told) out(log *forge.Log) {
	w.t.Helper()
	for code, kind := range map[int]error{401: factory.ErrUnverified, 403: factory.ErrUnverified, 404: factory.ErrNotFound, 500: factory.ErrUnavailable, 503: factory.ErrUnavailable} {
		log.Next(forge.Status(code, `{"message":"no"}`), forge.Status(code, `{"message":"no"}`))
		w.cannot(kind)
		log.Drop()
	}
	log.Next(forge.Status(429, "", "Retry-After", "7"))
	if seen := w.cannot(factory.ErrUnavailable, "429"); seen.RetryAfter != 7*time.Second {
		w.t.Errorf("%+v", seen)
	}
	log.Next(forge.Status(200, "[]"))
	w.cannot(factory.ErrUnavailable)
	log.Next(forge.Cut(200, "{"))
	w.cannot(factory.ErrUnavailable)
}

func TestWatchGitLab(t *testing.T) {
	t.Parallel()
	const read = "a-token-that-reads"
	lab := &forge.GitLab{Token: token, Read: read, Projects: map[string][]string{"payments/api": {"main"}}}
	n := notice(factory.TellGitLab)
	n.Dependent.Tell.Branch = "main"
	w := tell(t, factory.Server{ID: "lab", URL: forge.Serve(t, lab)}, token, n)
	w.cannot(factory.ErrNotFound, "404 Project Not Found", "or the token may not see it")
	if last := lab.Requests()[1]; last.Header.Get("Private-Token") != "" || strings.Contains(last.Path+last.Query, "t0p") {
		t.Errorf("the trigger token was sent: %+v", last)
	}
	w.server.ReadToken, w.token = "env:READ", "another"
	w.cannot(factory.ErrUnverified, "401", "read_api")
	w.token = read
	for status, stands := range map[string]string{"created": "running", "waiting_for_resource": "running", "running": "running", "manual": "running", "success": "done", "failed": "failed", "canceled": "failed", "skipped": "failed"} {
		lab.Becomes(1, status)
		w.sees(stands, "pipeline 1: "+status, "/-/pipelines/1")
	}
	w.out(&lab.Log)
	lab.Becomes(1, "success")
	w.sees("done")
	w.notice.Trigger.Handle = "../1"
	if seen, err := client().Watch(t.Context(), w.server, w.token, w.notice); err != nil || seen.Known {
		t.Errorf("%+v, %v", seen, err)
	}
	w.notice.Trigger.Handle, lab.Public, w.server.ReadToken, w.token = "1", true, "", token
	w.sees("done")
}

func TestWatchJenkins(t *testing.T) {
	t.Parallel()
	ci := &forge.Jenkins{User: "factory", Token: token, Jobs: map[string][]string{"team a/api": {"FACTORY_BASE"}}}
	n := notice(factory.TellJenkins)
	n.Dependent.Tell.Job = "team a/api"
	server := factory.Server{ID: "ci", URL: forge.Serve(t, ci), User: "factory"}
	first, second, third := tell(t, server, token, n), tell(t, server, token, n), tell(t, server, token, n)
	first.sees("running", "item 1: in the queue")
	ci.Cancel(1)
	first.sees("failed", "cancelled")
	ci.Begin(3)
	ci.Begin(2)
	if seen := second.sees("running", "build 2: running", "https://ci.example.com/job/"); seen.Handle != "#2" {
		t.Errorf("%+v", seen)
	}
	for result, stands := range map[string]string{"SUCCESS": "done", "UNSTABLE": "failed", "FAILURE": "failed", "ABORTED": "failed", "NOT_BUILT": "failed"} {
		ci.End(2, result)
		second.sees(stands, "build 2: "+result)
	}
	second.out(&ci.Log)
	// The queue has forgotten it before anybody asked: of the builds one says that it was it.
	ci.Forget(3)
	if seen := third.sees("running", "build 1: running"); seen.Handle != "#1" {
		t.Errorf("%+v", seen)
	}
	third.notice.Trigger.Handle = "9"
	third.cannot(factory.ErrNotFound)
	third.notice.Dependent.Tell.Job = "gone"
	third.cannot(factory.ErrNotFound, "404")
	third.notice.Dependent.Tell.Job = "../x"
	third.cannot(factory.ErrInvalid, "is not a job")
	third.notice.Dependent.Tell.Job, third.server.User = "team a/api", ""
	third.cannot(factory.ErrInvalid, "no user")
	third.notice.Trigger.Handle = ""
	if seen, err := client().Watch(t.Context(), server, token, third.notice); err != nil || seen.Known {
		t.Errorf("%+v, %v", seen, err)
	}
}

func TestWatchWorkflowRuns(t *testing.T) {
	t.Parallel()
	g, repo, server := hub(t)
	n := notice(factory.TellWorkflowDispatch)
	n.Dependent.Tell.Workflow = "build.yml"
	w := tell(t, server, token, n)
	w.sees("running", "run 1: queued", "/actions/runs/1")
	for conclusion, stands := range map[string]string{"success": "done", "neutral": "done", "failure": "failed", "cancelled": "failed", "timed_out": "failed", "skipped": "failed", "action_required": "running"} {
		repo.Becomes(1, "completed", conclusion)
		w.sees(stands, "run 1: "+conclusion)
	}
	w.out(&g.Log)
	// A server that does not say which run it is: only a name tells.
	g.Older = true
	w = tell(t, server, token, n)
	w.sees("running", "none is known to be its own", "run-name: ${{ inputs.FACTORY_CAUSE }}")
	repo.Named("build.yml", "FACTORY_CAUSE")
	w = tell(t, server, token, n)
	repo.Becomes(2, "completed", "failure") // somebody's
	repo.Becomes(3, "completed", "success")
	w.sees("done", "run 3: success")
	w.notice.Dependent.Tell.Workflow = "../x"
	if seen, err := client().Watch(t.Context(), server, token, w.notice); err != nil || seen.Known {
		t.Errorf("%+v, %v", seen, err)
	}
}

func TestWatchRepositoryDispatches(t *testing.T) {
	t.Parallel()
	g, repo, server := hub(t)
	repo.Listen("one.yml", downstream.DefaultEvent, "")
	n := notice(factory.TellRepositoryDispatch)
	w := tell(t, server, token, n)
	repo.Becomes(1, "completed", "failure")
	w.sees("running", "run-name: ${{ github.event.client_payload.cause }}")
	repo.Listen("two.yml", downstream.DefaultEvent, "cause")
	repo.Listen("three.yml", downstream.DefaultEvent, "cause")
	w = tell(t, server, token, n) // runs 2, 3, 4
	w.sees("running", "queued")
	repo.Becomes(3, "completed", "success")
	w.sees("running", "run 4: queued")
	repo.Becomes(4, "completed", "failure")
	w.sees("failed", "run 4: failure")
	repo.Becomes(4, "completed", "success")
	w.sees("done")
	repo.Becomes(3, "completed", "failure")
	w = tell(t, server, token, n) // told again: the last run of each counts
	w.sees("running", "queued")
	w.out(&g.Log)
	repo.Blind()
	w.cannot(factory.ErrUnverified, "403", "Actions, read")
}

func TestWatchPullRequests(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	w := tell(t, a.server, token, notice(factory.TellPullRequest))
	w.sees("running")
	a.repo.Squash(1)
	writes := a.writes()
	w.sees("done", "main has 1b1b")
	if a.writes() != writes {
		t.Error("a look changed something")
	}
	w.notice.Dependent.Tell.Files = []string{"gone"}
	w.cannot(factory.ErrNotFound)
	w.notice.Trigger.Ref = "x"
	w.cannot(factory.ErrInvalid)
	w.token = ""
	w.cannot(factory.ErrInvalid, "no token")
	if seen, err := client().Watch(t.Context(), a.server, token, notice(factory.TellWebhook)); seen.Known || err != nil {
		t.Errorf("nobody can know that of a webhook: %+v, %v", seen, err)
	}
}
