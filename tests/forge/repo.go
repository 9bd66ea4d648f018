package forge

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Repo is a repository. Its methods are what people do in it.
type Repo struct {
	hub          *GitHub
	id           int
	name, former string
	movedForGood bool
	archived     bool
	readOnly     bool
	objects      map[string]any    // by id
	branches     map[string]string // id of a commit
	workflows    map[string][]string
	pulls        []*Pull
	started      []Dispatch
	listens      []listener
	named        map[string]string // input that a workflow's runs are named by
	runs         []*Run
	blind        bool
}

type (
	blob   string
	folder map[string]leaf // by path from here, flat
	leaf   struct {
		Mode, Blob string
	}
	commit struct {
		Message, Tree string
		Parents       []string
	}
)

func (o *Repo) put(v any) string {
	b, _ := json.Marshal(v)
	sum := sha1.Sum([]byte(fmt.Sprintf("%T %s", v, b)))
	id := hex.EncodeToString(sum[:])
	o.objects[id] = v
	return id
}

// treeOf lays files over a tree; an empty text takes one away. A path that begins with + is executable, with @ a link.
func (o *Repo) treeOf(from folder, files map[string]string) string {
	all := maps.Clone(from)
	if all == nil {
		all = folder{}
	}
	for path, text := range files {
		mode := "100644"
		if p, is := strings.CutPrefix(path, "+"); is {
			mode, path = "100755", p
		} else if p, is := strings.CutPrefix(path, "@"); is {
			mode, path = "120000", p
		}
		if text == "" {
			delete(all, path)
			continue
		}
		all[path] = leaf{mode, o.put(blob(text))}
	}
	return o.put(all)
}

func (o *Repo) commit(message, tree string, parents []string) string {
	return o.put(commit{message, tree, append([]string{}, parents...)})
}

func (o *Repo) at(branch string) (id string, c commit, tree folder) {
	id = o.branches[branch]
	c, _ = o.objects[id].(commit)
	tree, _ = o.objects[c.Tree].(folder)
	return id, c, tree
}

func (o *Repo) locked(do func()) {
	o.hub.state.Lock()
	defer o.hub.state.Unlock()
	do()
}

// Push commits files to a branch, which is made of main when it is not there. It returns the commit's id.
func (o *Repo) Push(branch, message string, files map[string]string) (id string) {
	o.locked(func() {
		if o.branches[branch] == "" {
			o.branches[branch] = o.branches["main"]
		}
		parent, _, tree := o.at(branch)
		id = o.commit(message, o.treeOf(tree, files), []string{parent})
		o.move(branch, id)
	})
	return id
}

// File is a file's text on a branch, with + before it when it is executable; empty when it is not there.
func (o *Repo) File(branch, path string) (text string) {
	o.locked(func() {
		_, _, tree := o.at(branch)
		b, _ := o.objects[tree[path].Blob].(blob)
		text = string(b)
		if tree[path].Mode == "100755" {
			text = "+" + text
		}
	})
	return text
}

// Head is a branch's newest commit and its message and parents; empty when there is no such branch.
func (o *Repo) Head(branch string) (id, message string, parents []string) {
	o.locked(func() {
		var c commit
		id, c, _ = o.at(branch)
		message, parents = c.Message, c.Parents
	})
	return id, message, parents
}

// Branches are all names, sorted.
func (o *Repo) Branches() (names []string) {
	o.locked(func() { names = slices.Sorted(maps.Keys(o.branches)) })
	return names
}

// Delete deletes a branch.
func (o *Repo) Delete(branch string) { o.locked(func() { delete(o.branches, branch) }) }

// Rename gives the repository another name. GitHub answers at the former one with redirects: 301 to GET, and to what changes something
// 307, or, with forGood, 301 as some proxies do.
func (o *Repo) Rename(name string, forGood bool) {
	o.locked(func() { o.former, o.name, o.movedForGood = o.name, name, forGood })
}

// Archive makes the repository read-only.
func (o *Repo) Archive() { o.locked(func() { o.archived = true }) }

// ReadOnly takes the token's right to write away.
func (o *Repo) ReadOnly() { o.locked(func() { o.readOnly = true }) }

// Workflow adds a workflow that has workflow_dispatch with inputs.
func (o *Repo) Workflow(file string, inputs ...string) {
	o.locked(func() {
		if o.workflows == nil {
			o.workflows = map[string][]string{}
		}
		o.workflows[file] = inputs
	})
}

// Started is what was dispatched.
func (o *Repo) Started() (all []Dispatch) {
	o.locked(func() { all = slices.Clone(o.started) })
	return all
}

func (o *Repo) gitGet(path string) (int, any) {
	kind, id, _ := strings.Cut(path, "/")
	switch kind {
	case "ref":
		branch := strings.TrimPrefix(id, "heads/")
		if sha := o.branches[branch]; sha != "" && branch != id {
			return 200, map[string]any{"ref": "refs/" + id, "object": map[string]any{"type": "commit", "sha": sha}}
		}
	case "commits":
		if c, is := o.objects[id].(commit); is {
			return 200, o.shown(id, c)
		}
	case "trees":
		if t, is := o.objects[id].(folder); is {
			return 200, map[string]any{"sha": id, "tree": o.listing(t), "truncated": false}
		}
	case "blobs":
		if b, is := o.objects[id].(blob); is {
			text := base64.StdEncoding.EncodeToString([]byte(b))
			var lines strings.Builder
			for len(text) > 60 { // GitHub breaks it into lines
				lines.WriteString(text[:60] + "\n")
				text = text[60:]
			}
			return 200, map[string]any{"sha": id, "size": len(b), "encoding": "base64", "content": lines.String() + text + "\n"}
		}
	}
	return 0, fault{404, "Not Found", nil}
}

func (o *Repo) shown(id string, c commit) map[string]any {
	parents := []any{}
	for _, p := range c.Parents {
		parents = append(parents, map[string]any{"sha": p})
	}
	return map[string]any{"sha": id, "message": c.Message, "tree": map[string]any{"sha": c.Tree}, "parents": parents}
}

// listing is one level of a tree.
func (o *Repo) listing(t folder) []any {
	entries := []any{}
	below := map[string]folder{}
	for _, path := range slices.Sorted(maps.Keys(t)) {
		name, rest, deeper := strings.Cut(path, "/")
		if !deeper {
			entries = append(entries, map[string]any{"path": name, "mode": t[path].Mode, "type": "blob", "sha": t[path].Blob})
			continue
		}
		if below[name] == nil {
			below[name] = folder{}
		}
		below[name][rest] = t[path]
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		entries = append(entries, map[string]any{"path": name, "mode": "040000", "type": "tree", "sha": o.put(below[name])})
	}
	return entries
}
