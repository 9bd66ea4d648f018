package downstream

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	crumbField = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)
	queueItem  = regexp.MustCompile(`/queue/item/([0-9]{1,19})/?$`)
	crumbValue = regexp.MustCompile(`^[A-Za-z0-9._:=+/-]{1,256}$`)
)

// jenkins starts a build with parameters. A crumb is fetched only when it is asked for: requests with an API token need none today.
func jenkins(ctx context.Context, c *call) (factory.Told, error) {
	tell := c.notice.Dependent.Tell
	if c.server.User == "" {
		return factory.Told{}, c.problem(factory.ErrInvalid, "it has no user", "set servers: … user in factory.yaml to whom the API token belongs to", nil)
	}
	path, err := c.jenkinsJob()
	if err != nil {
		return factory.Told{}, err
	}
	form := url.Values{}
	for _, v := range variables(c.notice) {
		form.Set(v.name, v.value)
	}
	build := request{
		method: http.MethodPost,
		path:   path + "/buildWithParameters",
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {c.basic()}},
		body:   []byte(form.Encode()),
		tells:  true,
	}
	var a answer
	a, err = c.send(ctx, build)
	if err == nil && a.status == http.StatusForbidden && strings.Contains(strings.ToLower(string(a.body)), "crumb") {
		if err = c.crumb(ctx, build.header); err == nil {
			a, err = c.send(ctx, build)
		}
	}
	if err == nil {
		err = c.judge(a)
	}
	if p, ours := err.(*factory.Problem); ours && a.status == http.StatusBadRequest {
		p.Hint = "the job needs string parameters, FACTORY_BASE at least: This project is parameterized"
	}
	if err != nil {
		return factory.Told{}, err
	}
	told := factory.Told{Answer: "build of " + tell.Job + " queued"}
	if item := a.location(); item != nil && item.Host == c.root.Host {
		told.URL = item.String()
		if m := queueItem.FindStringSubmatch(item.Path); m != nil {
			told.Handle = m[1]
		}
	}
	return told, nil
}

// jenkinsJob is the path of the dependent's job.
func (c *call) jenkinsJob() (path string, err error) {
	job := c.notice.Dependent.Tell.Job
	for folder := range strings.SplitSeq(strings.Trim(job, "/"), "/") {
		if folder == "" || folder == "." || folder == ".." {
			return "", c.problem(factory.ErrInvalid, fmt.Sprintf("%.120q is not a job", job), "write tell.job like folder/job", nil)
		}
		path += "/job/" + url.PathEscape(folder)
	}
	return path, nil
}

func (c *call) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.server.User+":"+c.token))
}

// crumb adds to header what Jenkins wants against forged requests. A crumb is good in the session that it was made in.
func (c *call) crumb(ctx context.Context, header http.Header) error {
	var made struct {
		Crumb string `json:"crumb"`
		Field string `json:"crumbRequestField"`
	}
	a, err := c.ask(ctx, request{method: http.MethodGet, path: "/crumbIssuer/api/json", header: http.Header{"Authorization": {c.basic()}}}, &made)
	if err != nil {
		return err
	}
	if !crumbField.MatchString(made.Field) || !crumbValue.MatchString(made.Crumb) || header.Get(made.Field) != "" {
		return c.problem(factory.ErrUnavailable, "its crumb is none", "", nil)
	}
	header.Set(made.Field, made.Crumb)
	for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
		header.Add("Cookie", (&http.Cookie{Name: cookie.Name, Value: cookie.Value}).String())
	}
	return nil
}
