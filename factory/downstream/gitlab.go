package downstream

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

var gitlabName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$`)

// gitlabPipeline starts a pipeline. The token is in the form: in a URL it would be in logs.
func gitlabPipeline(ctx context.Context, c *call) (factory.Told, error) {
	d := c.notice.Dependent
	if !gitlabName.MatchString(d.Repository) {
		return factory.Told{}, c.problem(factory.ErrInvalid, fmt.Sprintf("%.120q is not a project", d.Repository), "write it like group/project", nil)
	}
	if d.Tell.Branch == "" {
		return factory.Told{}, c.problem(factory.ErrInvalid, "it says no branch for the pipeline", "add tell.branch in dependents.yaml", nil)
	}
	form := url.Values{"token": {c.token}, "ref": {d.Tell.Branch}}
	for _, v := range variables(c.notice) {
		form.Set("variables["+v.name+"]", v.value)
	}
	a, err := c.ask(ctx, request{
		method: http.MethodPost,
		path:   c.gitlabProject() + "/trigger/pipeline",
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		body:   []byte(form.Encode()),
		tells:  true,
	}, nil)
	if err != nil {
		return factory.Told{}, err
	}
	var made struct {
		ID  int64  `json:"id"`
		URL string `json:"web_url"`
	}
	if json.Unmarshal(a.body, &made) != nil { // it was made, and a second one would be worse than not knowing its URL
		return factory.Told{Answer: "pipeline started, its answer cannot be read"}, nil
	}
	return factory.Told{Answer: fmt.Sprintf("pipeline %d started on %s", made.ID, d.Tell.Branch), URL: made.URL, Handle: fmt.Sprint(made.ID)}, nil
}

// gitlabProject is the path of the dependent's project.
func (c *call) gitlabProject() string {
	api := "/api/v4"
	if strings.HasSuffix(c.root.Path, api) {
		api = ""
	}
	return api + "/projects/" + url.PathEscape(c.notice.Dependent.Repository)
}

// gitlabStatus asks for a pipeline's status. A trigger token is not sent: it cannot ask, and of public projects anybody can.
func gitlabStatus(ctx context.Context, c *call) (factory.Seen, error) {
	id := c.notice.Trigger.Handle
	if !gitlabName.MatchString(c.notice.Dependent.Repository) || !number.MatchString(id) {
		return factory.Seen{}, nil
	}
	header := http.Header{}
	if c.server.ReadToken != "" {
		header.Set("Private-Token", c.token)
	}
	var is struct {
		Status string `json:"status"`
		URL    string `json:"web_url"`
	}
	if _, err := c.ask(ctx, request{method: http.MethodGet, path: c.gitlabProject() + "/pipelines/" + id, header: header}, &is); err != nil {
		return factory.Seen{}, err
	}
	failed := is.Status == "failed" || is.Status == "canceled" || is.Status == "skipped"
	return build("pipeline "+id, c.short(is.Status), is.Status == "success", failed, is.URL), nil
}
