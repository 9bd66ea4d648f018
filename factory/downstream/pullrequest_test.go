package downstream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/tests/forge"
)

const branch = "imagefactory/main"

// later is a notice of the release after the usual one.
func later(n factory.Notice) factory.Notice {
	n.Before = n.Trigger.Ref
	n.Trigger.Ref = strings.Replace(n.Trigger.Ref, newDigest, "sha256:"+strings.Repeat("2c", 32), 1)
	n.Trigger.ID, n.Trigger.Key, n.Trigger.Tag = "20261124-080000-bbbbbb", "key-2", tag("20261124-2c2c2c2c-prod")
	return n
}

var laterFrom = base + ":20261124-2c2c2c2c-prod@sha256:" + strings.Repeat("2c", 32)

// asked is a pull request's world.
type asked struct {
	t      *testing.T
	hub    *forge.GitHub
	repo   *forge.Repo
	server factory.Server
	heard  said
}

func pullRequests(t *testing.T) *asked {
	t.Helper()
	a := &asked{t: t}
	a.hub, a.repo, a.server = hub(t)
	return a
}

func (a *asked) tell(n factory.Notice) (factory.Told, error) {
	a.t.Helper()
	c := downstream.Client{Now: clock, Events: a.heard.hear}
	return c.Tell(a.t.Context(), a.server, token, n)
}

func (a *asked) must(n factory.Notice, says string) factory.Told {
	a.t.Helper()
	told, err := a.tell(n)
	if err != nil || !strings.Contains(told.Answer, says) {
		a.t.Fatalf("%+v, %v; want %q", told, err, says)
	}
	return told
}

func (a *asked) writes() (n int) {
	for _, r := range a.hub.Requests() {
		if r.Method != "GET" {
			n++
		}
	}
	return n
}

// A body without a table says why there is none.
func TestPullRequestWithoutPackages(t *testing.T) {
	t.Parallel()
	for before, says := range map[string]string{
		"":                     "Nothing of debian-12 was there before: there is nothing to compare it with.",
		base + "@" + oldDigest: "Before it, `" + base + "@" + oldDigest + "` was there. Both have the same packages.",
	} {
		a, n := pullRequests(t), notice(factory.TellPullRequest)
		n.Before, n.Packages, n.Fixed = before, nil, nil
		a.must(n, "request #1 opened: Dockerfile:1")
		if body := a.repo.Pulls()[0].Body; !strings.Contains(body, says) || strings.Contains(body, "| package |") || strings.Contains(body, "Fixes:") {
			t.Error(body)
		}
	}
}

func TestPullRequest(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	n.Trigger.Urgent = true
	told := a.must(n, "request #1 opened: Dockerfile:1")
	if told.URL != "https://git.example.com/payments/api/pull/1" || told.Done {
		t.Errorf("%+v", told)
	}
	if got, want := a.repo.File(branch, "Dockerfile"), "FROM "+newFrom+"\nRUN true\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p := a.repo.Pulls()[0]
	if p.Title != "Base debian-12 20261123-1a2b3c4d-prod: fixes CVE-2026-1234 and 1 more" || p.Base != "main" {
		t.Errorf("%+v", p)
	}
	for _, says := range []string{
		"`" + base + "@" + newDigest + "` came into **prod**: packages changed: openssl.", "`" + base + "@" + oldDigest + "`", "- `CVE-2026-2345`",
		"| `openssl` | `3.0.15` | `3.0.16` | `CVE-2026-1234` |", "| `left¦over'` | `1` |  |  |", "factory verify --key cosign.pub --env prod " + base + ":20261123-1a2b3c4d-prod",
		"cosign verify --key cosign.pub", "Trigger `20261123-080000-aaaaaa`, key `key-1`.", "**Urgent**",
	} {
		if !strings.Contains(p.Body, says) {
			t.Errorf("the body does not say %q:\n%s", says, p.Body)
		}
	}
	head, message, parents := a.repo.Head(branch)
	main, _, _ := a.repo.Head("main")
	if !strings.Contains(message, "Factory-Cause: 20261123-080000-aaaaaa\n") || !slices.Equal(parents, []string{main}) {
		t.Errorf("%v\n%s", parents, message)
	}

	writes := a.writes()
	a.must(n, "#1 is up to date")                                                                                // delivered again
	if again, _, _ := a.repo.Head(branch); again != head || len(a.repo.Pulls()) != 1 || a.writes() != writes+2 { // a blob and a tree, to compare
		t.Errorf("the second delivery did something: %d writes", a.writes()-writes)
	}

	// The next release, on top of what main has become.
	main = a.repo.Push("main", "work", map[string]string{"src/a": "b", "Dockerfile": "# hello\nFROM " + oldFrom + "\n"})
	a.must(later(n), "#1 updated: Dockerfile:2")
	_, _, parents = a.repo.Head(branch)
	p = a.repo.Pulls()[0]
	if a.repo.File(branch, "Dockerfile") != "# hello\nFROM "+laterFrom+"\n" || a.repo.File(branch, "src/a") != "b" || !slices.Equal(parents, []string{main}) || len(a.repo.Pulls()) != 1 || strings.Contains(p.Body, newDigest+" -->") {
		t.Errorf("%v %+v", parents, p)
	}

	a.repo.Squash(1)
	if told := a.must(later(n), "main has 2c2c2c2c2c2c already"); !told.Done {
		t.Errorf("%+v", told)
	}
	n.Trigger.Urgent, n.Fixed = false, nil
	told = a.must(n, "#2 opened") // a digest that is another one again; the branch that was merged is ours to move
	if len(a.repo.Pulls()) != 2 || a.repo.Pulls()[1].Title != "Base debian-12 20261123-1a2b3c4d-prod" {
		t.Errorf("%+v %+v", told, a.repo.Pulls())
	}
}

func TestPullRequestIsClosed(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	a.must(n, "opened")
	a.repo.Close(1)
	for range 2 {
		if told := a.must(n, "request #1 for this digest was closed without a merge: left alone"); told.Done || told.URL == "" || len(a.repo.Pulls()) != 1 {
			t.Errorf("%+v", told)
		}
	}
	a.must(later(n), "#2 opened")
	if got := a.repo.File(branch, "Dockerfile"); !strings.Contains(got, laterFrom) {
		t.Error(got)
	}
}

func TestSomebodyElsesCommits(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	a.must(n, "opened")
	theirs := a.repo.Push(branch, "make the tests pass", map[string]string{"src/fix": "x"})
	for _, m := range []factory.Notice{later(n), n} {
		told, err := a.tell(m)
		problem(t, err, factory.ErrConflict, "somebody else's commits are on the branch imagefactory/main", "merge them, or delete the branch")
		if head, _, _ := a.repo.Head(branch); head != theirs || told.URL == "" {
			t.Errorf("%+v: the branch is at %s, was at %s", told, head, theirs)
		}
	}
	a.repo.Squash(1) // their commits are merged: the branch may go on
	a.must(later(n), "#2 opened")

	// Amended: the message is ours, the content is not.
	_, message, _ := a.repo.Head(branch)
	a.repo.Push(branch, message, map[string]string{"src/more": "x"})
	third := later(n)
	third.Trigger.Ref = base + "@" + oldDigest[:len(oldDigest)-2] + "ff"
	_, err := a.tell(third)
	problem(t, err, factory.ErrConflict)
	a.repo.Close(2)
	a.repo.Delete(branch)
	a.must(third, "#3 opened")

	// A branch of that name that was never ours.
	b := pullRequests(t)
	b.repo.Push(branch, "mine", map[string]string{"x": "y"})
	_, err = b.tell(n)
	problem(t, err, factory.ErrConflict)
}

func TestOneRequestForAllBases(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	other := "registry.example.com/base/debian-13"
	a.repo.Push("main", "two", map[string]string{"Dockerfile": "FROM " + oldFrom + "\nFROM " + other + ":1\n", "+deploy/web.Dockerfile": "FROM " + base + "\r\n\xff"})
	n := notice(factory.TellPullRequest)
	n.Dependent.Tell.Files = []string{"deploy/web.Dockerfile", "Dockerfile", "Dockerfile"}
	second := notice(factory.TellPullRequest)
	second.Trigger.Image, second.Trigger.Ref = "debian-13", other+"@"+oldDigest
	otherFrom := other + ":20261123-1a2b3c4d-prod@" + oldDigest
	a.must(n, "#1 opened: Dockerfile:1, deploy/web.Dockerfile:1")
	a.must(second, "#1 updated: Dockerfile:2")
	p := a.repo.Pulls()[0]
	if got, want := a.repo.File(branch, "Dockerfile"), "FROM "+newFrom+"\nFROM "+otherFrom+"\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := a.repo.File(branch, "deploy/web.Dockerfile"), "+FROM "+newFrom+"\r\n\xff"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if p.Title != "Bases debian-12, debian-13" || strings.Count(p.Body, "<!-- /imagefactory -->") != 2 || len(a.repo.Branches()) != 2 {
		t.Errorf("%+v %v", p, a.repo.Branches())
	}
	a.must(second, "is up to date")

	// A newer one takes its own part over and keeps the other, on a main that moved.
	a.repo.Push("main", "work", map[string]string{"src/a": "b"})
	a.must(later(n), "#1 updated")
	p = a.repo.Pulls()[0]
	if got, want := a.repo.File(branch, "Dockerfile"), "FROM "+laterFrom+"\nFROM "+otherFrom+"\n"; got != want || strings.Count(p.Body, "<!-- /imagefactory -->") != 2 {
		t.Errorf("%q, want %q\n%s", got, want, p.Body)
	}
	// What main moved by hand is not moved back.
	a.repo.Push("main", "by hand", map[string]string{"Dockerfile": "FROM " + oldFrom + "\nFROM " + other + ":2\n"})
	a.must(later(n), "#1 updated")
	if got, want := a.repo.File(branch, "Dockerfile"), "FROM "+laterFrom+"\nFROM "+other+":2\n"; got != want || strings.Contains(a.repo.Pulls()[0].Body, "debian-13") {
		t.Errorf("%q, want %q", got, want)
	}
	// And what is gone from main is forgotten.
	a.must(second, "#1 updated")
	a.repo.Push("main", "less", map[string]string{"deploy/web.Dockerfile": ""})
	a.must(second, "#1 updated")
	if got := a.repo.Pulls()[0].Title; got != "Bases debian-12, debian-13" {
		t.Error(got)
	}
	if told := a.must(func() factory.Notice {
		a.repo.Push("main", "all by hand", map[string]string{"Dockerfile": "FROM " + otherFrom + "\n"})
		return second
	}(), "main has 0a0a0a0a0a0a already; request #1 is still open"); !told.Done || told.URL == "" {
		t.Errorf("%+v", told)
	}
}

func TestAnotherBranch(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	a.repo.Push("release/1", "old", map[string]string{"Dockerfile": "FROM " + base + ":1\n"})
	a.must(n, "#1 opened")
	n.Dependent.Tell.Branch = "release/1"
	a.must(n, "#2 opened")
	if p := a.repo.Pulls()[1]; p.Base != "release/1" || p.Head != "imagefactory/release/1" {
		t.Errorf("%+v", p)
	}
	for branch, kind := range map[string]error{"gone": factory.ErrNotFound, "a b": factory.ErrInvalid, "a/../b": factory.ErrInvalid, "a..b": factory.ErrNotFound} {
		n.Dependent.Tell.Branch = branch
		_, err := a.tell(n)
		problem(t, err, kind, "branch")
	}
}

func TestFilesThatCannotBeMoved(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	a.repo.Push("main", "x", map[string]string{"@link": "Dockerfile", "none": "FROM scratch\n", "arg": "ARG B=" + base + "\nFROM $B\n", "dir/f": "x", "both": "FROM $B\nFROM " + oldFrom + "\n", "big": "FROM " + oldFrom + "\n#" + strings.Repeat("x", 1<<20)})
	for file, want := range map[string]struct {
		kind error
		says string
	}{
		"gone":        {factory.ErrNotFound, "there is no gone on main"},
		"dir/f/g":     {factory.ErrNotFound, "there is no dir/f/g"},
		"dir":         {factory.ErrInvalid, "no ordinary file"},
		"link":        {factory.ErrInvalid, "no ordinary file"},
		"../x":        {factory.ErrInvalid, "not a file in a repository"},
		".git/config": {factory.ErrInvalid, "not a file in a repository"},
		"a\nb":        {factory.ErrInvalid, "not a file in a repository"},
		"none":        {factory.ErrInvalid, "no FROM line of none names " + base},
		"arg":         {factory.ErrInvalid, "left alone: arg line 2: FROM $B takes its base from an argument"},
		"big":         {factory.ErrInvalid, "more than 1048576 bytes"},
	} {
		n.Dependent.Tell.Files = []string{file}
		_, err := a.tell(n)
		problem(t, err, want.kind, want.says)
	}
	if a.writes() != 0 || len(a.repo.Branches()) != 1 {
		t.Errorf("%d writes, branches %v", a.writes(), a.repo.Branches())
	}
	n.Dependent.Tell.Files = []string{"both"}
	a.must(n, "#1 opened: both:2; left alone: both line 1: FROM $B")
	if !strings.Contains(a.heard.all(), "dependent payments-api: left alone: both line 1") || !strings.Contains(a.repo.Pulls()[0].Body, "- `both line 1: FROM $B") {
		t.Errorf("%s\n%s", a.heard.all(), a.repo.Pulls()[0].Body)
	}
}

func TestRepositoriesThatTakeNothing(t *testing.T) {
	t.Parallel()
	n := notice(factory.TellPullRequest)
	a := pullRequests(t)
	a.repo.ReadOnly()
	_, err := a.tell(n)
	problem(t, err, factory.ErrUnverified, "Resource not accessible", "Contents and Pull requests, read and write")
	a.repo.Archive()
	_, err = a.tell(n)
	problem(t, err, factory.ErrInvalid, "archived")
	n.Dependent.Repository = "payments/gone"
	_, err = a.tell(n)
	problem(t, err, factory.ErrNotFound, "the repository is gone")
	n = notice(factory.TellPullRequest)
	n.Trigger.Ref = base
	_, err = a.tell(n)
	problem(t, err, factory.ErrInvalid, "is not repository@digest")
}

// Whichever of the requests fails, nothing half-made is visible, and the next delivery does the rest.
func TestPullRequestBreaksOff(t *testing.T) {
	t.Parallel()
	n := notice(factory.TellPullRequest)
	probe := pullRequests(t)
	probe.must(n, "opened")
	for i := range len(probe.hub.Requests()) {
		a := pullRequests(t)
		for range i {
			a.hub.Next(nil)
		}
		a.hub.Next(forge.Status(502, "bad gateway"))
		_, err := a.tell(n)
		problem(t, err, factory.ErrUnavailable, "502")
		a.must(n, "#1 opened")
		if a.repo.File(branch, "Dockerfile") != "FROM "+newFrom+"\nRUN true\n" || len(a.repo.Pulls()) != 1 {
			t.Errorf("request %d: %+v", i, a.repo.Pulls())
		}
	}
	a := pullRequests(t)
	a.must(n, "opened")
	writes := len(a.hub.Requests())
	probe.must(later(n), "updated")
	for i := range len(probe.hub.Requests()) - writes {
		a := pullRequests(t)
		a.must(n, "opened")
		for range i {
			a.hub.Next(nil)
		}
		a.hub.Next(forge.Status(504, ""))
		if _, err := a.tell(later(n)); err == nil {
			t.Errorf("request %d broke off, and nobody noticed", i)
		}
		a.must(later(n), "#1 ")
		if p := a.repo.Pulls(); a.repo.File(branch, "Dockerfile") != "FROM "+laterFrom+"\nRUN true\n" || len(p) != 1 || !strings.Contains(p[0].Title, "20261124") {
			t.Errorf("request %d: %+v", i, p)
		}
	}
}

func TestServersThatLie(t *testing.T) {
	t.Parallel()
	n := notice(factory.TellPullRequest)
	for i, answer := range map[int]string{
		4: `{"content":"!","encoding":"base64","size":1}`, 7: `{"sha":"x"}`, 8: `{"sha":""}`, 9: `{"sha":""}`,
	} {
		a := pullRequests(t)
		for range i {
			a.hub.Next(nil)
		}
		a.hub.Next(forge.Status(200, answer))
		_, err := a.tell(n)
		if err == nil {
			t.Errorf("request %d: %s was believed", i, answer)
		}
	}
	a := pullRequests(t)
	for range 11 {
		a.hub.Next(nil)
	}
	a.hub.Next(forge.Status(422, `{"message":"Reference already exists"}`))
	_, err := a.tell(n)
	problem(t, err, factory.ErrUnavailable, "at the same time")
}

func TestLongTexts(t *testing.T) {
	t.Parallel()
	a := pullRequests(t)
	n := notice(factory.TellPullRequest)
	for i := range 500 {
		n.Packages = append(n.Packages, factory.PackageChange{Name: fmt.Sprint("p", i), New: strings.Repeat("9", 500), CVEs: slices.Repeat([]string{"CVE-2026-1"}, 12)})
		n.Fixed = append(n.Fixed, fmt.Sprint("CVE-2026-", i))
	}
	a.must(n, "opened")
	if p := a.repo.Pulls()[0]; !strings.Contains(p.Body, "402 more are left out here") || !strings.Contains(p.Body, "442 more are left out here") || !strings.Contains(p.Body, "2 more |") {
		t.Errorf("%s", p.Body)
	}
}
