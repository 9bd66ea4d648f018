package forge

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Pull is a pull request.
type Pull struct {
	Number      int
	State       string // open, closed
	Merged      bool
	Title, Body string
	Head, Base  string // branches
	Updates     int    // by PATCH
	sha         string
}

// Pulls are all pull requests, oldest first.
func (o *Repo) Pulls() (all []Pull) {
	o.locked(func() {
		for _, p := range o.pulls {
			all = append(all, *p)
		}
	})
	return all
}

// Close closes one without merging it.
func (o *Repo) Close(number int) { o.locked(func() { o.pulls[number-1].State = "closed" }) }

// Squash merges one as a single new commit, and keeps its branch.
func (o *Repo) Squash(number int) {
	o.locked(func() {
		p := o.pulls[number-1]
		parent, _, _ := o.at(p.Base)
		c, _ := o.objects[p.sha].(commit)
		o.branches[p.Base] = o.commit("squashed", c.Tree, []string{parent})
		p.State, p.Merged = "closed", true
	})
}

func (o *Repo) showPull(p *Pull) map[string]any {
	owner, _, _ := strings.Cut(o.name, "/")
	shown := map[string]any{
		"number": p.Number, "state": p.State, "title": p.Title, "body": p.Body, "merged_at": nil,
		"html_url": fmt.Sprintf("https://git.example.com/%s/pull/%d", o.name, p.Number),
		"head":     map[string]any{"ref": p.Head, "sha": p.sha, "label": owner + ":" + p.Head},
		"base":     map[string]any{"ref": p.Base},
	}
	if p.Merged {
		shown["merged_at"] = "2026-11-23T08:00:00Z"
	}
	return shown
}

func (o *Repo) listPulls(q url.Values) (int, any) {
	owner, _, _ := strings.Cut(o.name, "/")
	list := []any{}
	for _, p := range slices.Backward(o.pulls) {
		if (q.Get("state") == p.State || q.Get("state") == "all") && (q.Get("head") == "" || q.Get("head") == owner+":"+p.Head) && (q.Get("base") == "" || q.Get("base") == p.Base) {
			list = append(list, o.showPull(p))
		}
	}
	return 200, list
}

func (o *Repo) openPull(in map[string]any) (int, any) {
	head, base := str(in["head"]), str(in["base"])
	invalid := func(e any) (int, any) { return 0, fault{422, "Validation Failed", []any{e}} }
	switch {
	case o.branches[head] == "":
		return invalid(map[string]any{"resource": "PullRequest", "field": "head", "code": "invalid"})
	case o.branches[base] == "":
		return invalid(map[string]any{"resource": "PullRequest", "field": "base", "code": "invalid"})
	case o.branches[base] == o.branches[head]:
		return invalid(map[string]any{"resource": "PullRequest", "code": "custom", "message": "No commits between " + base + " and " + head})
	case len([]rune(str(in["body"]))) > 65536 || str(in["title"]) == "":
		return invalid(map[string]any{"resource": "PullRequest", "code": "custom", "field": "body", "message": "body is too long (maximum is 65536 characters)"})
	}
	for _, p := range o.pulls {
		if p.State == "open" && p.Head == head && p.Base == base {
			return invalid(map[string]any{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for " + head + "."})
		}
	}
	p := &Pull{Number: len(o.pulls) + 1, State: "open", Title: str(in["title"]), Body: str(in["body"]), Head: head, Base: base, sha: o.branches[head]}
	o.pulls = append(o.pulls, p)
	return 201, o.showPull(p)
}

func (o *Repo) changePull(number string, in map[string]any) (int, any) {
	i := slices.IndexFunc(o.pulls, func(p *Pull) bool { return fmt.Sprint(p.Number) == number })
	if i < 0 {
		return 0, fault{404, "Not Found", nil}
	}
	p := o.pulls[i]
	for field, to := range map[string]*string{"title": &p.Title, "body": &p.Body, "state": &p.State, "base": &p.Base} {
		if v, is := in[field].(string); is {
			*to = v
		}
	}
	p.Updates++
	return 200, o.showPull(p)
}
