package downstream

import (
	"context"
	"errors"
	"regexp"

	"github.com/imagefactory/imagefactory/factory"
)

// number is by which a server knows a build.
var number = regexp.MustCompile(`^[0-9]{1,19}$`)

// Watch asks what became of what a dependent was told: whether the build succeeded or failed that it began, or the files of one that
// gets pull requests have the digest. The token is the resolved ReadToken of the server, or its Token when it has none. The error is one
// of Tell's: it could not be asked, and nothing is known by that. Of a webhook nobody can know.
func (c *Client) Watch(ctx context.Context, server factory.Server, token string, n factory.Notice) (factory.Seen, error) {
	how := adapters[n.Dependent.Tell.How]
	if how.watch == nil {
		return factory.Seen{}, nil
	}
	call := &call{client: c, server: server, notice: n, secrets: forms(server.User, token), what: how.what, need: how.reads}
	if err := call.begin(token); err != nil {
		return factory.Seen{Known: true}, err
	}
	seen, err := how.watch(ctx, call)
	if err == nil {
		seen.Answer, seen.URL = cut(call.clean(seen.Answer), maxSaid), call.address(seen.URL)
		return seen, nil
	}
	if _, ours := errors.AsType[*factory.Problem](err); !ours {
		err = call.problem(nil, err.Error(), "", nil)
	}
	return factory.Seen{Known: true, RetryAfter: call.after}, err
}

// merged looks at the files of a dependent that gets pull requests.
func merged(ctx context.Context, c *call) (seen factory.Seen, err error) {
	p := &pull{call: c, files: map[string]*file{}}
	if p.to, err = c.baseRef(); err != nil {
		return seen, err
	}
	if err = p.look(ctx); err != nil {
		return seen, err
	}
	lines, _, err := p.moveFiles()
	seen = factory.Seen{Known: true, Done: err == nil && len(lines) == 0}
	if seen.Done {
		seen.Answer = p.target + " has " + p.to.Digest.Short()
	}
	return seen, err
}

// build is what a build came to, in a server's words.
func build(what, word string, done, failed bool, url string) factory.Seen {
	return factory.Seen{Known: true, Done: done, Failed: failed, Answer: what + ": " + word, URL: url}
}
