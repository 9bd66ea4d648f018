package main

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// readServers reads servers: of factory.yaml, the machines that dependents are told through, by id. Secrets are references.
func (c *config) readServers(path string, line int, raw map[string]any) []error {
	var problems []error
	bad := func(hint, format string, args ...any) {
		problems = append(problems, &factory.Problem{Kind: factory.ErrInvalid, What: "servers: " + fmt.Sprintf(format, args...), Where: factory.Position{File: path, Line: line}, Hint: hint})
	}
	const form = "servers: {ID: {url: URL, user: NAME, token: env:NAME or file:PATH, read-token: env:NAME or file:PATH, per-minute: 60}}"
	for _, id := range slices.Sorted(maps.Keys(raw)) {
		fields, ok := raw[id].(map[string]any)
		if !ok {
			bad(form, "%s is no mapping", id)
			continue
		}
		s := factory.Server{ID: id}
		texts := map[string]*string{"url": &s.URL, "user": &s.User, "token": &s.Token, "read-token": &s.ReadToken}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			text, isText := fields[name].(string)
			switch into := texts[name]; {
			case name == "per-minute":
				n, isNumber := fields[name].(uint64)
				if !isNumber || n < 1 || n > 1e6 {
					bad("leave it out for 60", "%s.per-minute is no number from 1 to 1000000", id)
				}
				s.PerMinute = int(n)
			case into == nil:
				bad(form, "%s has no %q", id, name)
			case !isText || text == "":
				bad(form, "%s.%s is no text", id, name)
			default:
				*into = text
			}
		}
		if what, hint := wrongURL(s.URL); what != "" {
			bad(hint, "%s.url %s", id, what)
		}
		if !isReference(s.Token) { // and it is not repeated: it may be the secret itself
			bad("token: env:NAME or token: file:PATH, never the secret itself; of a webhook it is what signs", "%s.token is no reference", id)
		}
		if s.ReadToken != "" && !isReference(s.ReadToken) {
			bad("read-token: env:NAME or read-token: file:PATH, never the secret itself", "%s.read-token is no reference", id)
		}
		c.Servers[id] = s
	}
	return problems
}

// wrongURL says what is wrong with a server's URL, without repeating it: somebody may have put a secret into it.
func wrongURL(address string) (what, hint string) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return "is no URL", "https://git.example.com/api"
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return "has more than a host and a path", "names and secrets go into user: and token:"
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "is not encrypted, and a token would go through it", "use https"
	}
	return "", ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
