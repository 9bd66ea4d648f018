package downstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// jenkinsRun is a build as Jenkins shows it.
type jenkinsRun struct {
	Number   int64  `json:"number"`
	Queue    int64  `json:"queueId"`
	Building bool   `json:"building"`
	Result   string `json:"result"`
	URL      string `json:"url"`
}

const jenkinsFields = "number,queueId,building,result,url"

// asBuild marks a handle that is the number of a build. Any other is of the item of the queue that becomes one.
const asBuild = "#"

// jenkinsBuild asks for the build that a telling led to. Jenkins knows it by its item of the queue, which it forgets minutes after the
// build began: then the job's builds say of which item each is.
func jenkinsBuild(ctx context.Context, c *call) (factory.Seen, error) {
	job, err := c.jenkinsJob()
	handle, known := strings.CutPrefix(c.notice.Trigger.Handle, asBuild)
	if err != nil || !number.MatchString(handle) {
		return factory.Seen{}, err
	}
	run := &jenkinsRun{}
	if known {
		err = c.jenkinsAsk(ctx, job+"/"+handle, jenkinsFields, run)
	} else if run, err = c.jenkinsQueued(ctx, job, handle); run == nil && err == nil {
		return factory.Seen{Known: true, Failed: true, Answer: "its item of the queue, " + handle + ", was cancelled"}, nil
	}
	switch {
	case err != nil:
		return factory.Seen{}, err
	case run.Number == 0:
		return build("item "+handle, "in the queue", false, false, ""), nil
	case run.Building || run.Result == "":
		run.Result = "running"
	}
	failed := slices.Contains([]string{"FAILURE", "UNSTABLE", "ABORTED", "NOT_BUILT"}, run.Result)
	seen := build(fmt.Sprint("build ", run.Number), c.short(run.Result), run.Result == "SUCCESS", failed, run.URL)
	seen.Handle = asBuild + fmt.Sprint(run.Number)
	return seen, nil
}

// jenkinsQueued finds the build of an item of the queue: one without a number when it has not begun, nil when it was cancelled.
func (c *call) jenkinsQueued(ctx context.Context, job, item string) (*jenkinsRun, error) {
	var queued struct {
		Cancelled  bool        `json:"cancelled"`
		Executable *jenkinsRun `json:"executable"`
	}
	err := c.jenkinsAsk(ctx, "/queue/item/"+item, "cancelled,executable[number]", &queued)
	switch {
	case errors.Is(err, factory.ErrNotFound):
		return c.jenkinsListed(ctx, job, item, err)
	case err != nil:
		return nil, err
	case queued.Cancelled:
		return nil, nil
	case queued.Executable == nil || queued.Executable.Number <= 0:
		return &jenkinsRun{}, nil
	}
	run := &jenkinsRun{}
	return run, c.jenkinsAsk(ctx, fmt.Sprint(job, "/", queued.Executable.Number), jenkinsFields, run)
}

// jenkinsListed finds the build of an item that the queue has forgotten.
func (c *call) jenkinsListed(ctx context.Context, job, item string, gone error) (*jenkinsRun, error) {
	var list struct {
		Builds []jenkinsRun `json:"builds"`
	}
	if err := c.jenkinsAsk(ctx, job, "builds["+jenkinsFields+"]{0,100}", &list); err != nil {
		return nil, err
	}
	id, _ := strconv.ParseInt(item, 10, 64)
	i := slices.IndexFunc(list.Builds, func(r jenkinsRun) bool { return r.Queue == id })
	if i < 0 {
		return nil, gone
	}
	return &list.Builds[i], nil
}

func (c *call) jenkinsAsk(ctx context.Context, path, tree string, v any) error {
	if c.server.User == "" {
		return c.problem(factory.ErrInvalid, "it has no user", "set servers: … user in factory.yaml to whom the API token belongs to", nil)
	}
	_, err := c.ask(ctx, request{method: http.MethodGet, path: path + "/api/json", query: url.Values{"tree": {tree}}, header: http.Header{"Authorization": {c.basic()}}}, v)
	return err
}
