package forge

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
)

// Run is a run of a workflow. They are numbered from 1.
type Run struct {
	ID                 int
	Workflow, Event    string
	Title              string // what run-name came to
	Status, Conclusion string
}

// listener is a workflow that an event starts, whose runs are named by a property of its payload.
type listener struct{ workflow, event, named string }

// Listen adds a workflow that a repository_dispatch starts. named is the property of the payload in its run-name; empty = it has none.
func (o *Repo) Listen(workflow, event, named string) {
	o.locked(func() { o.listens = append(o.listens, listener{workflow, event, named}) })
}

// Named gives a workflow a run-name of an input.
func (o *Repo) Named(workflow, input string) {
	o.locked(func() {
		if o.named == nil {
			o.named = map[string]string{}
		}
		o.named[workflow] = input
	})
}

// Runs are all, oldest first.
func (o *Repo) Runs() (all []Run) {
	o.locked(func() {
		for _, r := range o.runs {
			all = append(all, *r)
		}
	})
	return all
}

// Becomes sets how a run stands: a status, and when that is completed its conclusion.
func (o *Repo) Becomes(id int, status, conclusion string) {
	o.locked(func() { o.runs[id-1].Status, o.runs[id-1].Conclusion = status, conclusion })
}

// Blind takes the token's right to see runs away.
func (o *Repo) Blind() { o.locked(func() { o.blind = true }) }

func (o *Repo) begin(workflow, event, title string) int {
	o.runs = append(o.runs, &Run{ID: len(o.runs) + 1, Workflow: workflow, Event: event, Title: title, Status: "queued"})
	return len(o.runs)
}

// showRuns is runs/ID, runs, and workflows/FILE/runs.
func (o *Repo) showRuns(path []string, q url.Values) (int, any) {
	workflow := ""
	if len(path) == 3 && path[0] == "workflows" && path[2] == "runs" {
		workflow, path = path[1], path[2:]
	}
	switch {
	case o.blind:
		return 0, fault{403, "Resource not accessible by personal access token", nil}
	case path[0] != "runs" || len(path) > 2 || workflow != "" && o.workflows[workflow] == nil:
		return 0, fault{404, "Not Found", nil}
	case len(path) == 2:
		n, err := strconv.Atoi(path[1])
		if err != nil || n < 1 || n > len(o.runs) {
			return 0, fault{404, "Not Found", nil}
		}
		return 200, o.showRun(o.runs[n-1])
	}
	list := []any{}
	for _, r := range slices.Backward(o.runs) {
		if (workflow == "" || r.Workflow == workflow) && (q.Get("event") == "" || q.Get("event") == r.Event) {
			list = append(list, o.showRun(r))
		}
	}
	return 200, map[string]any{"total_count": len(list), "workflow_runs": list}
}

func (o *Repo) showRun(r *Run) map[string]any {
	var files []string
	for _, other := range o.runs {
		if !slices.Contains(files, other.Workflow) {
			files = append(files, other.Workflow)
		}
	}
	shown := map[string]any{"id": r.ID, "workflow_id": 100 + slices.Index(files, r.Workflow), "name": r.Workflow, "display_title": r.Title, "event": r.Event, "status": r.Status, "conclusion": nil,
		"html_url": fmt.Sprintf("https://git.example.com/%s/actions/runs/%d", o.name, r.ID)}
	if r.Conclusion != "" {
		shown["conclusion"] = r.Conclusion
	}
	return shown
}
