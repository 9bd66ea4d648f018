package downstream

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// pull is one pull request in the making. A repository has one open request of the factory for each branch that is asked to take it,
// for all images that it follows.
type pull struct {
	*call
	target string // the branch to be merged into
	branch string // ours
	head   string // commit of target
	tree   string // of head
	files  map[string]*file
	to     factory.Ref // repository:tag@digest

	open   *githubPull
	tip    *githubCommit // of our branch; nil = there is no branch
	moves  []bump        // that our branch makes, of this notice and of those that are still open
	pushed bool
}

// file is one that may change.
type file struct {
	mode      string
	was, text []byte
	exists    bool
}

func pullRequest(ctx context.Context, c *call) (factory.Told, error) {
	p := &pull{call: c, files: map[string]*file{}}
	var err error
	if p.to, err = c.baseRef(); err != nil {
		return factory.Told{}, err
	}
	free, err := c.client.pulls.take(ctx, strings.ToLower(c.root.Host+"/"+c.notice.Dependent.Repository))
	if err != nil {
		return factory.Told{}, c.problem(factory.ErrUnavailable, "interrupted", "", err)
	}
	defer free()
	if err := p.look(ctx); err != nil {
		return factory.Told{}, err
	}
	lines, left, err := p.moveFiles()
	for _, l := range left {
		p.warn("left alone: " + l)
	}
	if err != nil {
		return factory.Told{}, err
	}
	if err := p.ours(ctx); err != nil {
		return factory.Told{URL: p.url()}, err
	}
	if len(lines) == 0 {
		told := factory.Told{Answer: fmt.Sprintf("%s has %s already", p.target, p.to.Digest.Short()), Done: true}
		if p.open != nil {
			told.Answer, told.URL = told.Answer+fmt.Sprintf("; request #%d is still open", p.open.Number), p.open.URL
		}
		return told, nil
	}
	if no, err := p.declined(ctx); no.Answer != "" || err != nil {
		return no, err
	}
	if err := p.pending(ctx); err != nil {
		return factory.Told{URL: p.url()}, err
	}
	if err := p.push(ctx); err != nil {
		return factory.Told{URL: p.url()}, err
	}
	did, err := p.request(ctx, left)
	if err != nil {
		return factory.Told{URL: p.url()}, err
	}
	answer := fmt.Sprintf("request #%d %s: %s", p.open.Number, did, strings.Join(lines, ", "))
	if len(left) > 0 {
		answer += "; left alone: " + strings.Join(left, ", ")
	}
	return factory.Told{Answer: answer, URL: p.open.URL}, nil
}

func (p *pull) url() string {
	if p.open == nil {
		return ""
	}
	return p.open.URL
}

// baseRef is what FROM lines are moved to.
func (c *call) baseRef() (factory.Ref, error) {
	t := c.notice.Trigger
	to, err := factory.ParseRef(t.Ref)
	if err != nil || to.Digest == "" {
		return to, c.problem(factory.ErrInvalid, fmt.Sprintf("%.200q is not repository@digest", t.Ref), "", nil)
	}
	to.Tag = tagText(t.Tag)
	return to, nil
}

// look reads the repository, its branch and the files.
func (p *pull) look(ctx context.Context) error {
	repo, err := p.repository(ctx)
	if err != nil {
		return err
	}
	d := p.notice.Dependent
	p.target = cmp.Or(d.Tell.Branch, repo.DefaultBranch)
	p.branch = "imagefactory/" + p.target
	if p.target == p.branch || !branchName.MatchString(p.target) {
		return p.problem(factory.ErrInvalid, fmt.Sprintf("%.120q is not a branch", p.target), "set tell.branch in dependents.yaml", nil)
	}
	head, err := p.commitOf(ctx, p.target)
	if err != nil {
		return err
	}
	if head == nil {
		return p.problem(factory.ErrNotFound, "there is no branch "+p.target, "set tell.branch in dependents.yaml", nil)
	}
	p.head, p.tree = head.SHA, head.Tree.SHA
	for _, path := range filesOf(d) {
		if p.files[path], err = p.readFile(ctx, p.tree, path); err != nil {
			return err
		}
		if !p.files[path].exists {
			return p.problem(factory.ErrNotFound, fmt.Sprintf("there is no %s on %s", path, p.target), "set tell.files in dependents.yaml", nil)
		}
	}
	return nil
}

func filesOf(d factory.Dependent) []string {
	files := slices.Clone(d.Tell.Files)
	if len(files) == 0 {
		files = []string{"Dockerfile"}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// moveFiles moves this notice's FROM lines. It returns which, and which were left alone.
func (p *pull) moveFiles() (lines, left []string, err error) {
	found := false
	for _, path := range filesOf(p.notice.Dependent) {
		m := move(p.files[path].text, p.to)
		p.files[path].text = m.text
		for _, l := range m.lines {
			lines = append(lines, fmt.Sprintf("%s:%d", path, l))
		}
		for _, l := range m.left {
			left = append(left, path+" "+l)
		}
		if found = found || len(m.lines)+len(m.has) > 0; len(m.lines) > 0 {
			p.moves = append(p.moves, bump{p.to, path})
		}
	}
	if found {
		return lines, left, nil
	}
	what := "no FROM line of " + strings.Join(filesOf(p.notice.Dependent), ", ") + " names " + p.to.Repository
	if len(left) > 0 {
		what += "; left alone: " + strings.Join(left, ", ")
	}
	return nil, left, p.problem(factory.ErrInvalid, what, "write the base into a FROM line, or set tell.files in dependents.yaml", nil)
}

// ours finds our branch and our open request.
func (p *pull) ours(ctx context.Context) error {
	open, err := p.pulls(ctx, "open")
	if err != nil {
		return err
	}
	if len(open) > 0 {
		p.open = &open[0]
	}
	p.tip, err = p.commitOf(ctx, p.branch)
	return err
}

// declined looks at earlier requests. Somebody who closed one for this digest without merging it has said no; commits that are not
// ours are not overwritten, unless they were merged.
func (p *pull) declined(ctx context.Context) (factory.Told, error) {
	var closed []githubPull
	if p.open == nil {
		var err error
		if closed, err = p.pulls(ctx, "closed"); err != nil {
			return factory.Told{}, err
		}
		for _, r := range closed {
			if r.MergedAt == "" && strings.Contains(r.Body, mark(p.to)) {
				return factory.Told{Answer: fmt.Sprintf("request #%d for this digest was closed without a merge: left alone", r.Number), URL: r.URL}, nil
			}
		}
	}
	if p.tip == nil || p.tip.ours() || slices.ContainsFunc(closed, func(r githubPull) bool { return r.MergedAt != "" && r.Head.SHA == p.tip.SHA }) {
		return factory.Told{}, nil
	}
	return factory.Told{URL: p.url()}, p.problem(factory.ErrConflict, "somebody else's commits are on the branch "+p.branch+", which are not overwritten", "merge them, or delete the branch", nil)
}

// push makes our branch one commit on top of the target, unless it is that already.
func (p *pull) push(ctx context.Context) error {
	tree, err := p.makeTree(ctx)
	if err != nil {
		return err
	}
	if p.tip != nil && p.tip.Tree.SHA == tree && len(p.tip.Parents) == 1 && p.tip.Parents[0].SHA == p.head {
		return nil
	}
	var made githubCommit
	commit := map[string]any{"message": p.commitMessage(tree), "tree": tree, "parents": []string{p.head}}
	if _, err := p.github(ctx, http.MethodPost, "/git/commits", commit, &made); err != nil {
		return err
	}
	p.pushed = true
	if p.tip != nil {
		// GitHub moves a branch without a look at where it is, so what can be done is to look right before.
		if now, err := p.refOf(ctx, p.branch); err != nil || now != p.tip.SHA {
			return cmp.Or(err, p.problem(factory.ErrUnavailable, "somebody moved the branch "+p.branch+" at the same time", "", nil))
		}
		_, err = p.github(ctx, http.MethodPatch, "/git/refs/heads/"+escapedPath(p.branch), map[string]any{"sha": made.SHA, "force": true}, nil)
		return err
	}
	a, err := p.github(ctx, http.MethodPost, "/git/refs", map[string]any{"ref": "refs/heads/" + p.branch, "sha": made.SHA}, nil)
	if err != nil && strings.Contains(string(a.body), "already exists") {
		return p.problem(factory.ErrUnavailable, "somebody else made the branch "+p.branch+" at the same time", "", nil)
	}
	return err
}

// request opens our request, or brings the open one up to date. It returns what it did.
func (p *pull) request(ctx context.Context, left []string) (did string, err error) {
	title, body := p.title(), p.body(left)
	switch {
	case p.open == nil:
		p.open = &githubPull{}
		_, err = p.github(ctx, http.MethodPost, "/pulls", map[string]any{"title": title, "body": body, "head": p.branch, "base": p.target}, p.open)
		return "opened", err
	case p.open.Title == title && p.open.Body == body && p.open.Base.Ref == p.target && !p.pushed:
		return "is up to date", nil
	}
	_, err = p.github(ctx, http.MethodPatch, fmt.Sprintf("/pulls/%d", p.open.Number), map[string]any{"title": title, "body": body, "base": p.target}, nil)
	return "updated", err
}
