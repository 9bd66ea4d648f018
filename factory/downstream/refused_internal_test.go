package downstream

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Whatever a server says of waiting and of itself, it is bounded and fit to be shown.
func FuzzAnswer(f *testing.F) {
	f.Add("7", "0", "1763888400", "application/json", []byte(`{"message":"no","errors":[{"message":"x"},1,null]}`))
	f.Add("Mon, 23 Nov 2026 09:00:00 GMT", "", "-1", "text/plain", []byte("t0ken t0\x00ken"))
	f.Add("99999999999999999999", "0", "99999999999999", "application/problem+json; a", []byte(`{"error":{"a":["b"]}}`))
	f.Fuzz(func(t *testing.T, after, remaining, reset, kind string, body []byte) {
		c := &call{client: &Client{Now: func() time.Time { return time.Unix(1763888400, 0) }}, secrets: forms("user", "t0ken"), what: "x"}
		for _, status := range []int{200, 301, 403, 404, 429, 500} {
			c.after = 0
			a := answer{status: status, body: body, header: http.Header{"Retry-After": {after}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "Content-Type": {kind}, "X-Error": {after}}}
			err := c.judge(a)
			if (err == nil) != (status == 200) || c.after < 0 || c.after > 24*time.Hour {
				t.Errorf("%d: %v, %s", status, err, c.after)
			}
			if err != nil && (strings.Contains(err.Error(), "t0ken") || strings.ContainsAny(err.Error(), "\x00\n\r\x1b") || len([]rune(err.Error())) > 600) {
				t.Errorf("not fit to be shown: %q", err)
			}
		}
	})
}

func TestSmallThings(t *testing.T) {
	t.Parallel()
	if got := shellWords(`a "b \" c" 'd \' e\ f "open`); len(got) != 5 || got[1] != `"b \" c"` || got[3] != `e\ f` {
		t.Errorf("%q", got)
	}
	if got := unquoted(`E"O F"'x\y'\"z`); got != `EO Fx\y"z` {
		t.Errorf("%q", got)
	}
	if tagText(factory.Tag{}) != "" {
		t.Error("no tag is a text")
	}
	c := &call{client: &Client{}}
	for _, bad := range []string{"", "javascript:alert(1)", "https://user@h/", "//h", "https://h/\n", "https://h/" + strings.Repeat("x", 3000)} {
		if c.address(bad) != "" {
			t.Errorf("%q is an address", bad)
		}
	}
	other := &githubCommit{Message: "Factory-Tree: t\n\nsubject", Tree: githubSHA{"t"}}
	if other.ours() {
		t.Error("a trailer counts at the end only")
	}
	p := &pull{call: c, tip: &githubCommit{}}
	if err := p.pending(t.Context()); err != nil || p.url() != "" {
		t.Error(err)
	}
}
