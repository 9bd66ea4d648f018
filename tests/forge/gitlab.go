package forge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// GitLab is GitLab's API to trigger pipelines.
type GitLab struct {
	Log
	Token    string
	Projects map[string][]string // branches, by the project's path
	// Read is a token with read_api; the trigger token is none. Public projects need none.
	Read   string
	Public bool

	state     sync.Mutex
	pipelines []Pipeline
}

// Pipeline is one that was started.
type Pipeline struct {
	Project, Ref string
	Variables    map[string]string
	Status       string // created, …, success
}

// Becomes sets the status of a pipeline, which are numbered from 1.
func (g *GitLab) Becomes(id int, status string) {
	g.state.Lock()
	defer g.state.Unlock()
	g.pipelines[id-1].Status = status
}

// show answers a pipeline. Whoever may not see the project is told that there is none.
func (g *GitLab) show(r *http.Request, project, id string) (int, any) {
	given := r.Header.Get("Private-Token")
	n, err := strconv.Atoi(id)
	g.state.Lock()
	defer g.state.Unlock()
	switch _, there := g.Projects[project]; {
	case given != "" && given != g.Read:
		return 401, map[string]any{"message": "401 Unauthorized"}
	case !there || given == "" && !g.Public:
		return 404, map[string]any{"message": "404 Project Not Found"}
	case err != nil || n < 1 || n > len(g.pipelines) || g.pipelines[n-1].Project != project:
		return 404, map[string]any{"message": "404 Not found"}
	}
	p := g.pipelines[n-1]
	return 200, map[string]any{"id": n, "ref": p.Ref, "status": p.Status, "web_url": fmt.Sprintf("https://gitlab.example.com/%s/-/pipelines/%d", project, n)}
}

// Pipelines are all that were started.
func (g *GitLab) Pipelines() []Pipeline {
	g.state.Lock()
	defer g.state.Unlock()
	return slices.Clone(g.pipelines)
}

// ServeHTTP implements http.Handler.
func (g *GitLab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.taken(w, r) {
		return
	}
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	path, api := strings.CutPrefix(r.URL.EscapedPath(), "/api/v4/projects/")
	escaped, last, _ := strings.Cut(path, "/")
	project, err := url.PathUnescape(escaped)
	if id, is := strings.CutPrefix(last, "pipelines/"); api && is && err == nil && r.Method == http.MethodGet {
		say(g.show(r, project, id))
		return
	}
	branches, there := g.Projects[project]
	form := url.Values{}
	if err == nil && r.ParseForm() == nil {
		form = r.PostForm // what is in the URL does not count here
	}
	switch {
	case !api || last != "trigger/pipeline" || r.Method != http.MethodPost, !there, form.Get("token") != g.Token:
		say(404, map[string]any{"message": "404 Not Found"})
		return
	case !slices.Contains(branches, form.Get("ref")):
		say(400, map[string]any{"message": map[string]any{"base": []string{"Reference not found"}}})
		return
	}
	p := Pipeline{Project: project, Ref: form.Get("ref"), Variables: map[string]string{}, Status: "created"}
	for k, v := range form {
		if name, is := strings.CutPrefix(k, "variables["); is && strings.HasSuffix(name, "]") {
			p.Variables[strings.TrimSuffix(name, "]")] = v[0]
		}
	}
	g.state.Lock()
	g.pipelines = append(g.pipelines, p)
	id := len(g.pipelines)
	g.state.Unlock()
	say(201, map[string]any{"id": id, "ref": p.Ref, "status": "created", "web_url": fmt.Sprintf("https://gitlab.example.com/%s/-/pipelines/%d", project, id)})
}
