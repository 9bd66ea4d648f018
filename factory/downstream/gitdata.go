package downstream

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/imagefactory/imagefactory/factory"
)

type (
	githubPull struct {
		Number   int    `json:"number"`
		URL      string `json:"html_url"`
		Title    string `json:"title"`
		Body     string `json:"body"`
		MergedAt string `json:"merged_at"`
		Head     struct {
			SHA string `json:"sha"`
		} `json:"head"`
		Base struct {
			Ref string `json:"ref"`
		} `json:"base"`
	}
	githubCommit struct {
		SHA     string      `json:"sha"`
		Message string      `json:"message"`
		Tree    githubSHA   `json:"tree"`
		Parents []githubSHA `json:"parents"`
	}
	githubSHA struct {
		SHA string `json:"sha"`
	}
	githubEntry struct {
		Path string `json:"path"`
		Mode string `json:"mode"`
		Type string `json:"type"`
		SHA  string `json:"sha"`
	}
)

// maxFile is of a Dockerfile, in bytes.
const maxFile = 1 << 20

// branchName is stricter than git: nothing that has a meaning in a URL.
var branchName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$`)

func escapedPath(s string) string { return (&url.URL{Path: s}).EscapedPath() }

// refOf is the id of a branch's newest commit; empty when there is no such branch.
func (p *pull) refOf(ctx context.Context, branch string) (string, error) {
	a, err := p.githubSend(ctx, http.MethodGet, "/git/ref/heads/"+escapedPath(branch), nil)
	if err != nil || a.status == http.StatusNotFound {
		return "", err
	}
	var ref struct {
		Object githubSHA `json:"object"`
	}
	if err = p.judge(a); err == nil {
		err = p.read(a, &ref)
	}
	return ref.Object.SHA, err
}

// commitOf is the newest commit of a branch; nil when there is no such branch.
func (p *pull) commitOf(ctx context.Context, branch string) (*githubCommit, error) {
	sha, err := p.refOf(ctx, branch)
	if err != nil || sha == "" {
		return nil, err
	}
	return p.commit(ctx, sha)
}

func (p *pull) commit(ctx context.Context, sha string) (*githubCommit, error) {
	c := &githubCommit{}
	_, err := p.github(ctx, http.MethodGet, "/git/commits/"+url.PathEscape(sha), nil, c)
	return c, err
}

// pulls are our requests of a state, newest first; of closed ones the last thirty.
func (p *pull) pulls(ctx context.Context, state string) (all []githubPull, err error) {
	owner, _, _ := strings.Cut(p.notice.Dependent.Repository, "/")
	query := url.Values{"state": {state}, "head": {owner + ":" + p.branch}, "per_page": {"30"}, "sort": {"created"}, "direction": {"desc"}}
	_, err = p.github(ctx, http.MethodGet, "/pulls?"+query.Encode(), nil, &all)
	return all, err
}

// readFile reads a file of a tree, folder by folder, because only a listing says its mode.
func (p *pull) readFile(ctx context.Context, tree, name string) (*file, error) {
	if !fs.ValidPath(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.HasPrefix(name+"/", ".git/") {
		return nil, p.problem(factory.ErrInvalid, fmt.Sprintf("%.120q is not a file in a repository", name), "set tell.files in dependents.yaml", nil)
	}
	at := githubEntry{SHA: tree, Type: "tree"}
	for part := range strings.SplitSeq(name, "/") {
		var listing struct {
			Tree []githubEntry `json:"tree"`
		}
		if at.Type != "tree" {
			return &file{}, nil
		}
		if _, err := p.github(ctx, http.MethodGet, "/git/trees/"+url.PathEscape(at.SHA), nil, &listing); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(listing.Tree, func(e githubEntry) bool { return e.Path == part })
		if i < 0 {
			return &file{}, nil
		}
		at = listing.Tree[i]
	}
	if at.Type != "blob" || at.Mode == "120000" {
		return nil, p.problem(factory.ErrInvalid, name+" is no ordinary file", "name the file itself in tell.files", nil)
	}
	var blob struct {
		Content  string `json:"content"`
		Encoding string `json:"encoding"`
		Size     int64  `json:"size"`
	}
	if _, err := p.github(ctx, http.MethodGet, "/git/blobs/"+url.PathEscape(at.SHA), nil, &blob); err != nil {
		return nil, err
	}
	text, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(blob.Content, "\n", ""))
	if err != nil || blob.Encoding != "base64" || int64(len(text)) != blob.Size {
		return nil, p.problem(factory.ErrUnavailable, "what it says is in "+name+" cannot be read", "", nil)
	}
	if len(text) > maxFile {
		return nil, p.problem(factory.ErrInvalid, fmt.Sprintf("%s has more than %d bytes", name, maxFile), "", nil)
	}
	return &file{mode: at.Mode, was: text, text: text, exists: true}, nil
}

// makeTree makes the tree of our commit and returns its id.
func (p *pull) makeTree(ctx context.Context) (string, error) {
	var entries []githubEntry
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		f := p.files[name]
		if string(f.text) == string(f.was) {
			continue
		}
		var blob githubSHA
		content := map[string]any{"content": base64.StdEncoding.EncodeToString(f.text), "encoding": "base64"} // the bytes as they are, whatever they are
		if _, err := p.github(ctx, http.MethodPost, "/git/blobs", content, &blob); err != nil {
			return "", err
		}
		entries = append(entries, githubEntry{Path: path.Clean(name), Mode: f.mode, Type: "blob", SHA: blob.SHA})
	}
	var tree githubSHA
	_, err := p.github(ctx, http.MethodPost, "/git/trees", map[string]any{"base_tree": p.tree, "tree": entries}, &tree)
	if err == nil && tree.SHA == "" {
		err = p.problem(factory.ErrUnavailable, "it made a tree without an id", "", nil)
	}
	return tree.SHA, err
}
