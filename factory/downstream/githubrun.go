package downstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// githubRun is a run of a workflow.
type githubRun struct {
	ID         int64  `json:"id"`
	Workflow   int64  `json:"workflow_id"`
	Title      string `json:"display_title"` // what the workflow's run-name came to
	Status     string `json:"status"`
	Conclusion string `json:"conclusion"`
	URL        string `json:"html_url"`
}

// githubDay is how far runs are looked for before the trigger was written: clocks differ.
const githubDay = "2006-01-02"

// workflowRun asks for the run that the dispatch began. Servers that do not say which that is are asked for one with the trigger's name.
func workflowRun(ctx context.Context, c *call) (factory.Seen, error) {
	id := c.notice.Trigger.Handle
	if !number.MatchString(id) {
		return namedRuns(ctx, c)
	}
	var run githubRun
	if _, err := c.github(ctx, http.MethodGet, "/actions/runs/"+id, nil, &run); err != nil {
		return factory.Seen{}, err
	}
	return c.concluded([]githubRun{run}), nil
}

// namedRuns looks for the runs that an event led to. GitHub does not say which these are, and whoever takes the next one takes that of
// somebody else for it: only a run whose name holds the trigger's id is one for certain.
func namedRuns(ctx context.Context, c *call) (factory.Seen, error) {
	t, tell := c.notice.Trigger, c.notice.Dependent.Tell
	path, event, value := "/actions/runs", "repository_dispatch", "${{ github.event.client_payload.cause }}"
	if tell.How == factory.TellWorkflowDispatch {
		if !workflowName.MatchString(tell.Workflow) {
			return factory.Seen{}, nil
		}
		path, event, value = "/actions/workflows/"+url.PathEscape(tell.Workflow)+"/runs", "workflow_dispatch", "${{ inputs.FACTORY_CAUSE }}"
	}
	query := url.Values{"event": {event}, "per_page": {"100"}, "created": {">=" + t.Created.UTC().AddDate(0, 0, -1).Format(githubDay)}}
	var list struct {
		Runs []githubRun `json:"workflow_runs"`
	}
	if _, err := c.github(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &list); err != nil {
		return factory.Seen{}, err
	}
	var ours []githubRun
	for _, run := range list.Runs { // newest first: of each workflow the last one counts
		same := slices.ContainsFunc(ours, func(o githubRun) bool { return o.Workflow == run.Workflow })
		if t.ID != "" && strings.Contains(run.Title, t.ID) && !same {
			ours = append(ours, run)
		}
	}
	if len(ours) == 0 {
		return factory.Seen{Known: true, Answer: "no run has the trigger's id in its name, so none is known to be its own; in the workflow: run-name: " + value}, nil
	}
	return c.concluded(ours), nil
}

// concluded is what runs came to: failed when one has, succeeded when all have.
func (c *call) concluded(runs []githubRun) factory.Seen {
	all := factory.Seen{Known: true, Done: true}
	for _, run := range runs {
		is := build(fmt.Sprint("run ", run.ID), run.Status, false, false, run.URL)
		if run.Status == "completed" {
			good, bad := []string{"success", "neutral"}, []string{"failure", "cancelled", "timed_out", "startup_failure", "skipped", "stale"}
			is = build(fmt.Sprint("run ", run.ID), c.short(run.Conclusion), slices.Contains(good, run.Conclusion), slices.Contains(bad, run.Conclusion), run.URL)
		}
		if all.Answer == "" || is.Failed || all.Done && !is.Done {
			all.Answer, all.URL = is.Answer, is.URL
		}
		all.Done, all.Failed = all.Done && is.Done, all.Failed || is.Failed
	}
	return all
}
