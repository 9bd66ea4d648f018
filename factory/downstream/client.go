// Package downstream tells those who build on an image that a new release of it is there, each in the way that they chose.
//
// Rules: a token goes to its own server only, over TLS unless that is loopback, in a header or a body and never in a URL; no error,
// answer or event says it, also when a server echoes it. Redirects stay on the host; one of a POST is followed only when it asks for
// the same request again. Whatever a server answers is bounded in size and time. Delivery may be repeated, so every way carries
// the idempotency key, and the trigger's id as the cause, by which a rebuild that it starts is known again.
package downstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Client tells dependents. The zero value tells by every way but webhooks, which need a clock. It is safe for concurrent use.
type Client struct {
	// Transport carries the requests; nil = the usual one, with the environment's proxy.
	Transport http.RoundTripper
	// Timeout is for one request with its answer; 0 means 30 seconds.
	Timeout time.Duration
	// Now is the clock that webhooks are signed by, and that "not before" is judged by; nil = the Date of the answer, for the latter.
	Now func() time.Time
	// Source says in CloudEvents who sends them, as a URI reference; empty means "imagefactory".
	Source string
	// Events hears what a person should look at.
	Events factory.Events

	pulls turns // one at a time in each repository: a request carries what others asked for, too
}

// adapter is one way to tell, what it speaks to, what its token must be allowed to do, and how to ask later what became of it.
type adapter struct {
	tell func(ctx context.Context, c *call) (factory.Told, error)
	what string
	need string
	// watch is nil where nobody can ask; reads is what the token must be allowed to for it.
	watch func(ctx context.Context, c *call) (factory.Seen, error)
	reads string
}

// adapters are all ways to tell. It is the one place that chooses by how.
var adapters = map[factory.TellHow]adapter{
	factory.TellRepositoryDispatch: {tell: repositoryDispatch, what: "the repository", need: "the token needs the permission Contents, read and write, on this repository",
		watch: namedRuns, reads: "the token (read-token, where there is one) needs the permission Actions, read, on this repository"},
	factory.TellWorkflowDispatch: {tell: workflowDispatch, what: "the workflow or the repository", need: "the token needs the permission Actions, read and write, on this repository",
		watch: workflowRun, reads: "the token (read-token, where there is one) needs the permission Actions, read, on this repository"},
	factory.TellPullRequest: {tell: pullRequest, what: "the repository", need: "the token needs the permissions Contents and Pull requests, read and write, on this repository",
		watch: merged, reads: "the token (read-token, where there is one) needs the permission Contents, read, on this repository"},
	factory.TellGitLab: {tell: gitlabPipeline, what: "the repository", need: "it has to be a pipeline trigger token of this project",
		watch: gitlabStatus, reads: "a trigger token cannot ask: set servers: … read-token to a token with the scope read_api and the role Reporter"},
	factory.TellJenkins: {tell: jenkins, what: "the job", need: "the user needs the permissions Job/Read and Job/Build on this job",
		watch: jenkinsBuild, reads: "the user needs the permission Job/Read on this job"},
	factory.TellWebhook: {tell: webhook, what: "the path", need: "the receiver does not take the signature: compare the secrets, and the clocks"},
}

// Tell tells a dependent of a release, in its own way. The token is the resolved one of the server; of a webhook it is the secret,
// or several with white space between them, of which each signs. The error is a *factory.Problem at the dependent's place in its file:
// ErrUnverified (the server does not take the token), ErrNotFound, ErrInvalid and ErrConflict (a person has to act), ErrUnavailable
// (another time may do, and Told.RetryAfter says when the server asked for one).
func (c *Client) Tell(ctx context.Context, server factory.Server, token string, n factory.Notice) (factory.Told, error) {
	call := &call{client: c, server: server, notice: n, secrets: forms(server.User, token)}
	how, known := adapters[n.Dependent.Tell.How]
	if !known {
		return factory.Told{}, call.problem(factory.ErrInvalid, fmt.Sprintf("%.60q is no way to tell", n.Dependent.Tell.How), "see tell.how in dependents.yaml", nil)
	}
	call.what, call.need = how.what, how.need
	err := call.begin(token)
	if err != nil {
		return factory.Told{}, err
	}
	told, err := how.tell(ctx, call)
	told.Answer, told.URL = cut(call.clean(told.Answer), maxSaid), call.address(told.URL)
	if err == nil {
		return told, nil
	}
	told.Answer, told.Done, told.RetryAfter = "", false, call.after
	if _, ours := errors.AsType[*factory.Problem](err); !ours {
		err = call.problem(nil, err.Error(), "", nil)
	}
	return told, err
}

// warn tells whoever watches.
func (c *call) warn(message string) {
	c.client.Events.Emit(factory.Event{Kind: factory.Warned, Image: c.notice.Trigger.Image, Message: c.clean("dependent " + c.notice.Dependent.Name + ": " + message)})
}
