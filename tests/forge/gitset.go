package forge

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

func str(v any) string { s, _ := v.(string); return s }

func (o *Repo) gitSet(method, path string, in map[string]any) (int, any) {
	switch {
	case method == "POST" && path == "blobs":
		text, err := base64.StdEncoding.DecodeString(str(in["content"]))
		if err != nil || str(in["encoding"]) != "base64" {
			return 0, fault{422, "Invalid blob", nil}
		}
		return 201, map[string]any{"sha": o.put(blob(text))}
	case method == "POST" && path == "trees":
		return o.makeTree(in)
	case method == "POST" && path == "commits":
		return o.makeCommit(in)
	case method == "POST" && path == "refs":
		branch, heads := strings.CutPrefix(str(in["ref"]), "refs/heads/")
		if _, is := o.objects[str(in["sha"])].(commit); !is || !heads {
			return 0, fault{422, "Object does not exist", nil}
		}
		if o.branches[branch] != "" {
			return 0, fault{422, "Reference already exists", nil}
		}
		for other := range o.branches {
			if strings.HasPrefix(other, branch+"/") || strings.HasPrefix(branch, other+"/") {
				return 0, fault{422, "Reference cannot be created: " + other + " exists", nil}
			}
		}
		o.move(branch, str(in["sha"]))
		return 201, map[string]any{"ref": in["ref"]}
	case method == "PATCH" && strings.HasPrefix(path, "refs/heads/"):
		branch := strings.TrimPrefix(path, "refs/heads/")
		c, is := o.objects[str(in["sha"])].(commit)
		if !is || o.branches[branch] == "" {
			return 0, fault{422, "Reference does not exist", nil}
		}
		if force, _ := in["force"].(bool); !force && !slices.Contains(c.Parents, o.branches[branch]) {
			return 0, fault{422, "Update is not a fast forward", nil}
		}
		o.move(branch, str(in["sha"]))
		return 200, map[string]any{"ref": "refs/heads/" + branch}
	}
	return 0, fault{404, "Not Found", nil}
}

// move moves a branch, and open pull requests with it.
func (o *Repo) move(branch, id string) {
	o.branches[branch] = id
	for _, p := range o.pulls {
		if p.Head == branch && p.State == "open" {
			p.sha = id
		}
	}
}

func (o *Repo) makeTree(in map[string]any) (int, any) {
	from, is := o.objects[str(in["base_tree"])].(folder)
	entries, _ := in["tree"].([]any)
	if !is || len(entries) == 0 {
		return 0, fault{422, "Invalid tree info", nil}
	}
	all := maps.Clone(from)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		mode, path := str(entry["mode"]), str(entry["path"])
		if _, is := o.objects[str(entry["sha"])].(blob); !is || !slices.Contains([]string{"100644", "100755"}, mode) || path == "" {
			return 0, fault{422, "tree.sha " + str(entry["sha"]) + " is not a valid blob", nil}
		}
		all[path] = leaf{mode, str(entry["sha"])}
	}
	return 201, map[string]any{"sha": o.put(all)}
}

func (o *Repo) makeCommit(in map[string]any) (int, any) {
	var parents []string
	list, _ := in["parents"].([]any)
	for _, p := range list {
		if _, is := o.objects[str(p)].(commit); !is {
			return 0, fault{422, "Parent SHA does not exist or is not a commit object", nil}
		}
		parents = append(parents, str(p))
	}
	if _, is := o.objects[str(in["tree"])].(folder); !is || str(in["message"]) == "" {
		return 0, fault{422, "Tree SHA does not exist", nil}
	}
	id := o.commit(str(in["message"]), str(in["tree"]), parents)
	return 201, map[string]any{"sha": id}
}
