package downstream_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/downstream"
	"github.com/imagefactory/imagefactory/tests/forge"
)

// Each way meets each answer.
func TestRefusals(t *testing.T) {
	t.Parallel()
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		kind   error
		says   string
		after  time.Duration
	}{
		"401":                      {forge.Status(401, `{"message":"Bad credentials"}`), factory.ErrUnverified, "Bad credentials", 0},
		"403":                      {forge.Status(403, `{"message":"Resource not accessible"}`), factory.ErrUnverified, "Resource not accessible", 0},
		"403 with Retry-After":     {forge.Status(403, `{"message":"secondary"}`, "Retry-After", "61"), factory.ErrUnavailable, "1m1s of peace", 61 * time.Second},
		"403 by words":             {forge.Status(403, `{"message":"You have exceeded a secondary Rate Limit."}`), factory.ErrUnavailable, "too many", time.Minute},
		"403 at the limit":         {forge.Status(403, `{}`, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(now.Add(90*time.Second).Unix())), factory.ErrUnavailable, "", 90 * time.Second},
		"429 seconds":              {forge.Status(429, "", "Retry-After", "7"), factory.ErrUnavailable, "429", 7 * time.Second},
		"429 date":                 {forge.Status(429, "", "Retry-After", date(2*time.Minute)), factory.ErrUnavailable, "", 2 * time.Minute},
		"429 date that is over":    {forge.Status(429, "", "Retry-After", date(-time.Hour)), factory.ErrUnavailable, "", time.Minute},
		"429 for ever":             {forge.Status(429, "", "Retry-After", "4000000000"), factory.ErrUnavailable, "", 24 * time.Hour},
		"429 nonsense":             {forge.Status(429, "", "Retry-After", "-3"), factory.ErrUnavailable, "", time.Minute},
		"404":                      {forge.Status(404, `{"message":"Not Found"}`), factory.ErrNotFound, " is gone, or the token may not see it", 0},
		"410":                      {forge.Status(410, ``), factory.ErrNotFound, "410", 0},
		"409":                      {forge.Status(409, `{"message":"Git Repository is empty."}`), factory.ErrConflict, "is empty", 0},
		"422":                      {forge.Status(422, `{"message":"Validation Failed","errors":[{"message":"one"},{"field":"x","code":"invalid"}]}`), factory.ErrInvalid, `Validation Failed; one; {"code":"invalid","field":"x"}`, 0},
		"400 nested":               {forge.Status(400, `{"message":{"base":["nothing"]},"error":"e"}`), factory.ErrInvalid, `{"base":["nothing"]}; e`, 0},
		"422 unclean":              {forge.Status(422, `{"message":"a\u0007b\u001b[31m\u202ec\nd`+strings.Repeat("x", 999)+`"}`), factory.ErrInvalid, "ab[31mc dxxx", 0},
		"400 half a body":          {forge.Cut(400, `{"message":"whole"}`), factory.ErrInvalid, "it answers 400", 0},
		"400 no JSON after all":    {forge.Status(400, `{"message`), factory.ErrInvalid, "it answers 400", 0},
		"500":                      {forge.Status(500, "trouble"), factory.ErrUnavailable, "500: trouble", 0},
		"503 with Retry-After":     {forge.Status(503, "", "Retry-After", "30"), factory.ErrUnavailable, "503", 30 * time.Second},
		"408":                      {forge.Status(408, ""), factory.ErrUnavailable, "408", 0},
		"cut":                      {forge.Cut(0, ""), factory.ErrUnavailable, "the connection broke", 0},
		"huge refusal":             {forge.Huge(500, 9<<20), factory.ErrUnavailable, "500", 0},
		"304":                      {forge.Status(304, ""), factory.ErrInvalid, "says nowhere to go", 0},
		"redirect to another host": {forge.Status(307, "", "Location", "https://thief.example.com/x?y"), factory.ErrInvalid, "another host, https://thief.example.com, which does not get the token", 0},
		"redirect to plain HTTP":   {forge.Status(308, "", "Location", "ftp://127.0.0.1/"), factory.ErrInvalid, "another host", 0},
		"bad redirect":             {forge.Status(308, "", "Location", "http://[::1"), factory.ErrInvalid, "nowhere to go", 0},
	} {
		for how, w := range ways(t) {
			w.log.Next(tt.answer)
			told, err := client().Tell(t.Context(), w.server, w.token, w.notice)
			if !errors.Is(err, tt.kind) || !strings.Contains(fmt.Sprint(err), tt.says) || told.RetryAfter != tt.after || told.Done {
				t.Errorf("%s, %s: %+v, %v", name, how, told, err)
			}
			if len(fmt.Sprint(err)) > 700 || strings.ContainsAny(fmt.Sprint(err), "\x07\x1b\n\u202e") {
				t.Errorf("%s, %s: not fit to be shown: %q", name, how, err)
			}
		}
	}
}

// Whatever a server does with the token, nobody reads it.
func TestTokensAreNotSaid(t *testing.T) {
	t.Parallel()
	forms := []string{token, url.QueryEscape(token), url.PathEscape(token), base64.StdEncoding.EncodeToString([]byte(token)), base64.StdEncoding.EncodeToString([]byte("factory:" + token))}
	for how, w := range ways(t) {
		var heard said
		c := client()
		c.Events = heard.hear
		var all strings.Builder
		for _, status := range []int{200, 201, 301, 302, 307, 400, 401, 403, 404, 422, 429, 500} {
			w.log.Next(forge.Echo(status), forge.Echo(status))
			told, err := c.Tell(t.Context(), w.server, w.token, w.notice)
			fmt.Fprintf(&all, "%d: %+v %v %+v\n", status, told, err, err)
			if p, is := errors.AsType[*factory.Problem](err); is {
				fmt.Fprintf(&all, "%+v\n", *p)
			}
		}
		w.log.Next(forge.Status(422, `{"message":"`+strings.ReplaceAll(token, "s3", "s\\u00073")+`"}`))
		_, err := c.Tell(t.Context(), w.server, w.token, w.notice)
		text := all.String() + fmt.Sprint(err) + heard.all()
		for _, form := range forms {
			if strings.Contains(text, strings.TrimRight(form, "=")) {
				t.Errorf("%s says %q:\n%s", how, form, text)
			}
		}
		if how != factory.TellWebhook && !strings.Contains(text, "[redacted]") {
			t.Errorf("%s: nothing was redacted: %s", how, text)
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	g, repo, server := hub(t)
	n := notice(factory.TellRepositoryDispatch)
	repo.Rename("payments/api-2", false)
	if _, err := client().Tell(t.Context(), server, token, n); err != nil || len(repo.Started()) != 1 {
		t.Errorf("307 on the same host is followed: %v", err)
	}
	repo.Rename("payments/api-3", true)
	n.Dependent.Repository = "payments/api-2"
	_, err := client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "the repository moved to payments/api-3", "write its new name into dependents.yaml")
	n.Dependent.Tell.How = factory.TellPullRequest
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrInvalid, "the repository moved to payments/api-3")
	g.Next(forge.Status(301, "", "Location", "/elsewhere"), forge.Status(404, ""))
	n.Dependent.Tell.How = factory.TellRepositoryDispatch
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrNotFound)
	for range 7 {
		g.Next(forge.Status(308, "", "Location", "/round"))
	}
	_, err = client().Tell(t.Context(), server, token, n)
	problem(t, err, factory.ErrUnavailable, "redirects more than 5 times")

	lab := ways(t)[factory.TellGitLab]
	lab.log.Next(forge.Status(302, "", "Location", "/users/sign_in"))
	_, err = client().Tell(t.Context(), lab.server, token, lab.notice)
	problem(t, err, factory.ErrInvalid, "moved to /users/sign_in")
}

func TestSlowAndBroken(t *testing.T) {
	t.Parallel()
	for how, w := range ways(t) {
		c := client()
		c.Timeout = 100 * time.Millisecond
		w.log.Next(forge.Silent)
		_, err := c.Tell(t.Context(), w.server, w.token, w.notice)
		problem(t, err, factory.ErrUnavailable, "no answer within 100ms")
		if how == factory.TellPullRequest {
			c.Timeout = 0
			for _, answer := range []http.HandlerFunc{forge.Cut(200, `{"full_`), forge.Status(200, `{"full_`), forge.Huge(200, 9<<20)} {
				w.log.Next(answer)
				_, err = c.Tell(t.Context(), w.server, w.token, w.notice)
				problem(t, err, factory.ErrUnavailable)
			}
			c.Timeout = 100 * time.Millisecond
			w.log.Next(forge.Hanging(200, `{`))
			_, err = c.Tell(t.Context(), w.server, w.token, w.notice)
			problem(t, err, factory.ErrUnavailable, "broke off: no answer within")
		}
	}
	w := ways(t)[factory.TellWebhook]
	ctx, cancel := context.WithCancelCause(t.Context())
	w.log.Next(func(_ http.ResponseWriter, r *http.Request) { cancel(context.Canceled); <-r.Context().Done() })
	_, err := client().Tell(ctx, w.server, w.token, w.notice)
	problem(t, err, context.Canceled, "interrupted")
	w.server.URL = "http://127.0.0.1:1"
	_, err = client().Tell(t.Context(), w.server, w.token, w.notice)
	problem(t, err, factory.ErrUnavailable, "connection refused")
	w.server.URL = "https://nobody.invalid"
	_, err = client().Tell(t.Context(), w.server, w.token, w.notice)
	problem(t, err, factory.ErrUnavailable)
}

// Without a clock a date is judged by the server's own.
func TestZeroValue(t *testing.T) {
	t.Parallel()
	w := ways(t)[factory.TellGitLab]
	w.log.Next(forge.Status(429, "", "Date", now.Format(http.TimeFormat), "Retry-After", now.Add(time.Minute*3).Format(http.TimeFormat)))
	told, err := (&downstream.Client{}).Tell(t.Context(), w.server, w.token, w.notice)
	if told.RetryAfter != 3*time.Minute || !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("%+v, %v", told, err)
	}
}

func TestConfigurationIsJudgedFirst(t *testing.T) {
	t.Parallel()
	for how, w := range ways(t) {
		good := w.server.URL
		for _, bad := range []string{"", "git.example.com", "http://git.example.com", "ftp://127.0.0.1", "https://user:pw@git.example.com", "https://git.example.com?x=y", "https://git.example.com#x", "https://%zz", "mailto:x"} {
			w.server.URL = bad
			_, err := client().Tell(t.Context(), w.server, w.token, w.notice)
			problem(t, err, factory.ErrInvalid)
		}
		w.server.URL = good
		_, err := client().Tell(t.Context(), w.server, " \n", w.notice)
		problem(t, err, factory.ErrInvalid, "no token")
		if how != factory.TellWebhook {
			_, err = client().Tell(t.Context(), w.server, "two\r\nlines", w.notice)
			problem(t, err, factory.ErrInvalid, "control characters")
		}
		if n := len(w.log.Requests()); n != 0 {
			t.Errorf("%s: %d requests were sent", how, n)
		}
	}
	n := notice("smoke-signals")
	_, err := client().Tell(t.Context(), factory.Server{ID: "hill"}, token, n)
	problem(t, err, factory.ErrInvalid, `"smoke-signals" is no way to tell`)
	n = notice(factory.TellRepositoryDispatch)
	for _, name := range []string{"api", "a/b/c", "../x", "a/..", "a/b?c", ""} {
		n.Dependent.Repository = name
		_, err = client().Tell(t.Context(), factory.Server{URL: "http://127.0.0.1:1"}, token, n)
		problem(t, err, factory.ErrInvalid, "is not a repository")
	}
}
