package downstream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// DefaultEvent is the type of a repository_dispatch whose dependent names none.
const DefaultEvent = "imagefactory-release"

// maxGitHub is for the listing of a folder with many files.
const maxGitHub = 8 << 20

var (
	githubName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)
	workflowName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9 ._-]*$`)
)

func repositoryDispatch(ctx context.Context, c *call) (factory.Told, error) {
	event := cmp.Or(c.notice.Dependent.Tell.Event, DefaultEvent)
	if len([]rune(event)) > 100 {
		return factory.Told{}, c.problem(factory.ErrInvalid, "its event type has more than 100 characters", "", nil)
	}
	type dispatch struct {
		Type    string  `json:"event_type"`
		Payload message `json:"client_payload"`
	}
	_, err := c.github(ctx, http.MethodPost, "/dispatches", dispatch{event, messageOf(c.notice)}, nil)
	return factory.Told{Answer: "repository_dispatch " + event + " taken"}, err
}

func workflowDispatch(ctx context.Context, c *call) (factory.Told, error) {
	tell := c.notice.Dependent.Tell
	if !workflowName.MatchString(tell.Workflow) {
		return factory.Told{}, c.problem(factory.ErrInvalid, fmt.Sprintf("%.80q is not the file of a workflow", tell.Workflow), "its name in .github/workflows, like build.yml", nil)
	}
	if tell.Branch == "" {
		repo, err := c.repository(ctx)
		if err != nil {
			return factory.Told{}, err
		}
		tell.Branch = repo.DefaultBranch
	}
	inputs := map[string]string{}
	for _, v := range variables(c.notice) {
		inputs[v.name] = v.value
	}
	body := map[string]any{"ref": tell.Branch, "inputs": inputs, "return_run_details": true}
	path := "/actions/workflows/" + url.PathEscape(tell.Workflow) + "/dispatches"
	a, err := c.githubSend(ctx, http.MethodPost, path, body)
	if err == nil && a.status == http.StatusUnprocessableEntity && strings.Contains(string(a.body), "return_run_details") {
		delete(body, "return_run_details") // an Enterprise Server that does not know it yet
		a, err = c.githubSend(ctx, http.MethodPost, path, body)
	}
	if err == nil {
		err = c.githubJudge(ctx, a)
	}
	if err != nil {
		return factory.Told{}, c.inputsHint(a, err)
	}
	var run struct {
		ID  int64  `json:"workflow_run_id"`
		URL string `json:"html_url"`
	}
	_ = json.Unmarshal(a.body, &run) // older servers answer nothing, and the run is started anyhow
	told := factory.Told{Answer: "workflow_dispatch of " + tell.Workflow + " on " + tell.Branch + " taken", URL: run.URL}
	if run.ID > 0 {
		told.Handle = fmt.Sprint(run.ID)
	}
	return told, nil
}

// inputsHint says which inputs a workflow has to declare, where that can be what is wrong.
func (c *call) inputsHint(a answer, err error) error {
	p, ours := err.(*factory.Problem)
	if ours && a.status == http.StatusUnprocessableEntity {
		var names []string
		for _, v := range variables(c.notice) {
			names = append(names, v.name)
		}
		p.Hint = "the workflow needs on: workflow_dispatch: with the inputs " + strings.Join(names, ", ")
	}
	return err
}

// githubSend sends a request for the dependent's repository.
func (c *call) githubSend(ctx context.Context, method, path string, body any) (answer, error) {
	name := c.notice.Dependent.Repository
	if !githubName.MatchString(name) || strings.HasSuffix(name, "/..") || strings.HasSuffix(name, "/.") {
		return answer{}, c.problem(factory.ErrInvalid, fmt.Sprintf("%.120q is not a repository", name), "write it like owner/name", nil)
	}
	path, query, _ := strings.Cut(path, "?")
	r := request{method: method, path: "/repos/" + name + path, limit: maxGitHub, header: http.Header{
		"Accept":               {"application/vnd.github+json"},
		"X-Github-Api-Version": {"2022-11-28"},
		"Authorization":        {"Bearer " + c.token},
	}}
	r.query, _ = url.ParseQuery(query)
	if body != nil {
		r.body, _ = json.Marshal(body)
		r.header.Set("Content-Type", "application/json")
	}
	r.tells = strings.HasSuffix(path, "/dispatches") || strings.HasPrefix(path, "/pulls") && method != http.MethodGet
	return c.send(ctx, r)
}

// github sends what must succeed and reads the answer into v unless that is nil.
func (c *call) github(ctx context.Context, method, path string, body, v any) (answer, error) {
	a, err := c.githubSend(ctx, method, path, body)
	if err == nil {
		err = c.githubJudge(ctx, a)
	}
	if err != nil || v == nil {
		return a, err
	}
	return a, c.read(a, v)
}

// githubJudge is judge, and says the new name of a repository that was renamed.
func (c *call) githubJudge(ctx context.Context, a answer) error {
	err := c.judge(a)
	if a.status != http.StatusMovedPermanently && a.status != http.StatusFound {
		return err
	}
	if to := a.location(); to == nil || to.Host != a.url.Host || to.Scheme != a.url.Scheme {
		return err
	}
	if _, renamed := c.repository(ctx); renamed != nil {
		return renamed
	}
	return err
}

type githubRepository struct {
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
	Archived      bool   `json:"archived"`
}

// repository looks at the dependent's repository, which must have the name that dependents.yaml says, and be writable.
func (c *call) repository(ctx context.Context) (githubRepository, error) {
	var repo githubRepository
	_, err := c.github(ctx, http.MethodGet, "", nil, &repo)
	switch {
	case err != nil:
		return repo, err
	case !strings.EqualFold(repo.FullName, c.notice.Dependent.Repository):
		return repo, c.problem(factory.ErrInvalid, "the repository moved to "+c.short(repo.FullName), "write its new name into dependents.yaml", nil)
	case repo.Archived:
		return repo, c.problem(factory.ErrInvalid, "the repository is archived", "take the dependent out of dependents.yaml", nil)
	}
	return repo, nil
}
