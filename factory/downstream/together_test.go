package downstream_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/forge"
)

// Two images are released in one night, and a repository follows both.
func TestTellingAtTheSameTime(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	var text strings.Builder
	var notices []factory.Notice
	for i := range 6 {
		n := notice(factory.TellPullRequest)
		n.Trigger.Image = fmt.Sprint("image-", i)
		n.Trigger.Ref = fmt.Sprintf("registry.example.com/base/image-%d@%s", i, newDigest)
		notices = append(notices, n)
		fmt.Fprintf(&text, "FROM registry.example.com/base/image-%d\n", i)
	}
	a.repo.Push("main", "many", map[string]string{"Dockerfile": text.String()})
	c := client()
	var all sync.WaitGroup
	for _, n := range notices {
		all.Go(func() {
			if _, err := c.Tell(t.Context(), a.server, token, n); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := a.repo.File(branch, "Dockerfile"); strings.Count(got, "@"+newDigest) != 6 || len(a.repo.Pulls()) != 1 {
		t.Errorf("%s in %d requests", got, len(a.repo.Pulls()))
	}
	// Who waits for his turn can be interrupted.
	ctx, cancel := context.WithCancel(t.Context())
	a.hub.Next(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		_, err := c.Tell(ctx, a.server, token, notices[1])
		problem(t, err, context.Canceled, "interrupted")
		forge.Status(500, "")(w, r)
	})
	_, err := c.Tell(t.Context(), a.server, token, notices[0])
	problem(t, err, factory.ErrUnavailable)
}

// Another machine moves the branch between the look and the move.
func TestBranchMovesMeanwhile(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	a.must(n, "opened")
	asked := 0
	var theirs string
	for range 10 { // repository, ref, commit, tree, file, pulls, ref, commit, blob, tree
		a.hub.Next(nil)
	}
	a.hub.Next(func(w http.ResponseWriter, r *http.Request) { // commit
		asked++
		theirs = a.repo.Push(branch, "theirs", map[string]string{"x": "y"})
		forge.Status(201, `{"sha":"`+strings.Repeat("0", 40)+`"}`)(w, r)
	})
	_, err := a.tell(later(n))
	problem(t, err, factory.ErrUnavailable, "somebody moved the branch imagefactory/main at the same time")
	if head, _, _ := a.repo.Head(branch); head != theirs || asked != 1 {
		t.Errorf("the branch is at %s, want %s", head, theirs)
	}
}

// net/http sends requests again whose connection breaks, when they carry an idempotency key; what GitHub starts twice runs twice.
func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	for how, w := range ways(t) {
		c := client()
		if how == factory.TellPullRequest {
			continue // its repetition does nothing
		}
		c.Transport = &http.Transport{}
		for range 5 {
			w.log.Next(forge.Status(500, "")) // whose connection is used again
			_, _ = c.Tell(t.Context(), w.server, w.token, w.notice)
			before := len(w.log.Requests())
			if how == factory.TellWorkflowDispatch {
				w.notice.Dependent.Tell.Branch = "main"
			}
			w.log.Next(forge.Cut(0, ""))
			_, err := c.Tell(t.Context(), w.server, w.token, w.notice)
			problem(t, err, factory.ErrUnavailable, "connection broke")
			if n := len(w.log.Requests()) - before; n != 1 {
				t.Errorf("%s: %d requests", how, n)
			}
		}
	}
}

func TestLongNamesAreCut(t *testing.T) {
	t.Parallel()
	w := ways(t)[factory.TellGitLab]
	w.log.Next(forge.Status(308, "", "Location", "https://"+strings.Repeat("x", 5000)+"/"))
	_, err := client().Tell(t.Context(), w.server, w.token, w.notice)
	problem(t, err, factory.ErrInvalid, "another host")
	if len(err.Error()) > 1000 {
		t.Errorf("%d bytes", len(err.Error()))
	}
	w = ways(t)[factory.TellWorkflowDispatch]
	w.log.Next(forge.Status(200, `{"full_name":"payments/api","default_branch":"`+strings.Repeat("x", 5000)+`"}`), forge.Status(204, ""))
	told, err := client().Tell(t.Context(), w.server, w.token, w.notice)
	if err != nil || len(told.Answer) > 1100 {
		t.Errorf("%d bytes, %v", len(told.Answer), err)
	}
}
