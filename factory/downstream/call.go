package downstream

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imagefactory/imagefactory/factory"
)

// call is one telling of one dependent.
type call struct {
	client  *Client
	server  factory.Server
	root    *url.URL // the server's URL, without a slash at the end
	token   string
	notice  factory.Notice
	what    string        // it speaks to
	need    string        // of permissions
	secrets []string      // never said; longest first
	after   time.Duration // how long the server asked to be left alone
}

// begin looks at what the configuration says before anything is sent.
func (c *call) begin(token string) error {
	c.token = strings.TrimSpace(token)
	if c.token == "" {
		return c.problem(factory.ErrInvalid, "it has no token", "set servers: … token in factory.yaml to env:NAME or file:PATH", nil)
	}
	if c.notice.Dependent.Tell.How != factory.TellWebhook && strings.ContainsFunc(c.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return c.problem(factory.ErrInvalid, "its token has spaces or control characters", "a token is one line without spaces", nil)
	}
	root, err := url.Parse(strings.TrimRight(c.server.URL, "/"))
	switch {
	case err != nil || root.Host == "" || root.User != nil || root.RawQuery != "" || root.Fragment != "" || root.Opaque != "":
		return c.problem(factory.ErrInvalid, "its url is none that requests can be sent to", "expected https://host or https://host/path, without user and query", nil)
	case root.Scheme == "https", root.Scheme == "http" && loopback(root.Hostname()):
		c.root = root
		return nil
	}
	return c.problem(factory.ErrInvalid, "its url is not https://", "a token is sent over TLS only, except on loopback", nil)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// problem is an error for a person, without the token.
func (c *call) problem(kind error, what, hint string, cause error) error {
	d := c.notice.Dependent
	return &factory.Problem{Kind: kind, What: "dependent " + d.Name + ", server " + cmp.Or(c.server.ID, "without id") + ": " + cut(c.clean(what), maxSaid), Where: d.Where, Hint: cut(c.clean(hint), maxSaid), Cause: cause}
}

// forms are all ways in which a secret could come back.
func forms(user, token string) []string {
	var all []string
	for _, t := range append(strings.Fields(token), strings.TrimSpace(token)) {
		quoted, _ := json.Marshal(t)
		all = append(all, t, strings.TrimPrefix(t, "whsec_"), url.QueryEscape(t), url.PathEscape(t), string(quoted[1:len(quoted)-1]))
		for _, plain := range []string{t, user + ":" + t} {
			all = append(all, strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(plain)), "="), base64.RawURLEncoding.EncodeToString([]byte(plain)))
		}
	}
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(all)
}

// clean makes a text fit to be shown: one line of printable characters, without secrets.
func (c *call) clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
	for _, secret := range c.secrets {
		s = strings.ReplaceAll(s, secret, "[redacted]")
	}
	return strings.TrimSpace(s)
}

// maxSaid is of a message of ours, in characters.
const maxSaid = 1000

// short is a cleaned text of a server, of which not much is left.
func (c *call) short(s string) string { return cut(c.clean(s), 200) }

func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// address is a URL that a person may follow, or nothing.
func (c *call) address(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(s) > 2000 || c.clean(s) != s {
		return ""
	}
	return s
}
