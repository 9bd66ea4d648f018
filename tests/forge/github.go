package forge

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// GitHub is GitHub's REST API, as far as dependents are told through it. An Enterprise Server's is below Prefix.
type GitHub struct {
	Log
	Token  string
	Prefix string // "/api/v3"
	// Older has it not know return_run_details, as Enterprise Servers of before 2026.
	Older bool

	state sync.Mutex
	repos []*Repo
}

// Add adds a repository with a branch main of one commit.
func (g *GitHub) Add(name string, files map[string]string) *Repo {
	g.state.Lock()
	defer g.state.Unlock()
	r := &Repo{hub: g, id: len(g.repos) + 1, name: name, objects: map[string]any{}, branches: map[string]string{}}
	r.branches["main"] = r.commit("first", r.treeOf(nil, files), nil)
	g.repos = append(g.repos, r)
	return r
}

// fault is an answer that is no success.
type fault struct {
	status  int
	message string
	errors  []any
}

func (g *GitHub) write(w http.ResponseWriter, status int, v any) {
	if f, is := v.(fault); is {
		status = f.status
		body := map[string]any{"message": f.message, "documentation_url": "https://git.example.com/rest", "status": fmt.Sprint(f.status)}
		if f.errors != nil {
			body["errors"] = f.errors
		}
		v = body
	}
	if v == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// ServeHTTP implements http.Handler.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.taken(w, r) {
		return
	}
	path, below := strings.CutPrefix(r.URL.EscapedPath(), g.Prefix)
	switch {
	case !below:
		g.write(w, 0, fault{404, "Not Found", nil})
		return
	case r.Header.Get("User-Agent") == "":
		g.write(w, 0, fault{403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header", nil})
		return
	case r.Header.Get("Authorization") != "Bearer "+g.Token:
		g.write(w, 0, fault{401, "Bad credentials", nil})
		return
	}
	g.state.Lock()
	defer g.state.Unlock()
	parts := strings.SplitN(strings.Trim(path, "/"), "/", 4)
	if len(parts) > 1 && parts[0] == "repositories" {
		i := slices.IndexFunc(g.repos, func(o *Repo) bool { return fmt.Sprint(o.id) == parts[1] })
		if i < 0 {
			g.write(w, 0, fault{404, "Not Found", nil})
			return
		}
		g.repos[i].serve(w, r, strings.Join(parts[2:], "/"))
		return
	}
	if len(parts) < 3 || parts[0] != "repos" {
		g.write(w, 0, fault{404, "Not Found", nil})
		return
	}
	name, rest := parts[1]+"/"+parts[2], ""
	if len(parts) == 4 {
		rest = parts[3]
	}
	for _, o := range g.repos {
		switch {
		case strings.EqualFold(o.name, name):
			o.serve(w, r, rest)
			return
		case strings.EqualFold(o.former, name):
			to := strings.TrimRight(fmt.Sprintf("%s/repositories/%d/%s", g.Prefix, o.id, rest), "/")
			w.Header().Set("Location", to)
			status := http.StatusTemporaryRedirect
			if r.Method == http.MethodGet || o.movedForGood {
				status = http.StatusMovedPermanently
			}
			g.write(w, status, map[string]any{"message": "Moved Permanently", "url": to})
			return
		}
	}
	g.write(w, 0, fault{404, "Not Found", nil})
}

func (o *Repo) serve(w http.ResponseWriter, r *http.Request, path string) {
	status, v := o.answer(r, path)
	o.hub.write(w, status, v)
}

// answer is the API of one repository.
func (o *Repo) answer(r *http.Request, path string) (int, any) {
	var in map[string]any
	if r.Method != http.MethodGet && json.NewDecoder(r.Body).Decode(&in) != nil {
		return 0, fault{400, "Problems parsing JSON", nil}
	}
	if r.Method != http.MethodGet {
		switch {
		case o.readOnly:
			return 0, fault{403, "Resource not accessible by personal access token", nil}
		case o.archived:
			return 0, fault{403, "Repository was archived so is read-only.", nil}
		}
	}
	what, rest, _ := strings.Cut(path, "/")
	rest, err := url.PathUnescape(rest)
	if err != nil {
		return 0, fault{400, "Bad Request", nil}
	}
	switch r.Method + " " + what {
	case "GET ":
		return 200, map[string]any{"id": o.id, "full_name": o.name, "default_branch": "main", "archived": o.archived}
	case "POST dispatches":
		return o.dispatch(in)
	case "POST actions":
		return o.run(strings.Split(rest, "/"), in)
	case "GET actions":
		return o.showRuns(strings.Split(rest, "/"), r.URL.Query())
	case "GET git":
		return o.gitGet(rest)
	case "POST git", "PATCH git":
		return o.gitSet(r.Method, rest, in)
	case "GET pulls":
		return o.listPulls(r.URL.Query())
	case "POST pulls":
		return o.openPull(in)
	case "PATCH pulls":
		return o.changePull(rest, in)
	}
	return 0, fault{404, "Not Found", nil}
}

// Dispatch is an event or a run that was started.
type Dispatch struct {
	Type     string // of the event, or the workflow's file
	Ref      string
	Payload  map[string]any // or inputs
	Workflow bool
}

func (o *Repo) dispatch(in map[string]any) (int, any) {
	event, _ := in["event_type"].(string)
	payload, _ := in["client_payload"].(map[string]any)
	size, _ := json.Marshal(payload)
	switch {
	case event == "" || len([]rune(event)) > 100:
		return 0, fault{422, "Invalid request.\n\nevent_type must be 1 to 100 characters", nil}
	case len(payload) > 10:
		return 0, fault{422, "Invalid request.\n\nNo more than 10 properties are allowed; " + fmt.Sprint(len(payload)) + " were supplied.", nil}
	case len(size) > 65535:
		return 0, fault{422, "client_payload is too large.", nil}
	}
	o.started = append(o.started, Dispatch{Type: event, Payload: payload})
	for _, l := range o.listens {
		if l.event == event {
			o.begin(l.workflow, "repository_dispatch", cmp.Or(str(payload[l.named]), event))
		}
	}
	return 204, nil
}

func (o *Repo) run(path []string, in map[string]any) (int, any) {
	if len(path) != 3 || path[0] != "workflows" || path[2] != "dispatches" {
		return 0, fault{404, "Not Found", nil}
	}
	declared, there := o.workflows[path[1]]
	if !there {
		return 0, fault{404, "Not Found", nil}
	}
	ref, _ := in["ref"].(string)
	inputs, _ := in["inputs"].(map[string]any)
	details, asked := in["return_run_details"].(bool)
	if asked && o.hub.Older {
		return 0, fault{422, "Invalid request.\n\n\"return_run_details\" is not a permitted key.", nil}
	}
	if o.branches[ref] == "" {
		return 0, fault{422, "No ref found for: " + ref, nil}
	}
	if len(inputs) > 25 {
		return 0, fault{422, "No more than 25 inputs are allowed", nil}
	}
	var unexpected []string
	for name := range inputs {
		if !slices.Contains(declared, name) {
			unexpected = append(unexpected, name)
		}
	}
	if slices.Sort(unexpected); len(unexpected) > 0 {
		return 0, fault{422, fmt.Sprintf("Unexpected inputs provided: %q", unexpected), nil}
	}
	o.started = append(o.started, Dispatch{Type: path[1], Ref: ref, Payload: inputs, Workflow: true})
	n := o.begin(path[1], "workflow_dispatch", cmp.Or(str(inputs[o.named[path[1]]]), path[1]))
	if details {
		return 200, map[string]any{"workflow_run_id": n, "html_url": fmt.Sprintf("https://git.example.com/%s/actions/runs/%d", o.name, n)}
	}
	return 204, nil
}
