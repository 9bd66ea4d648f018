package buildkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/imagefactory/imagefactory/factory"
)

func watching(events *[]factory.Event) *watch {
	return &watch{image: "debian-12", step: factory.StepBuild, names: map[digest.Digest]string{}, cached: map[string]bool{}, out: map[string]*output{},
		bytes: map[string]int64{}, total: 100, events: func(e factory.Event) { *events = append(*events, e) }}
}

func vertex(name string) *client.Vertex {
	return &client.Vertex{Name: name, Digest: digest.FromString(name)}
}

// What a daemon reports becomes progress, output and the name of what failed.
func TestWatch(t *testing.T) {
	t.Parallel()
	var events []factory.Event
	w := watching(&events)
	now := time.Now()
	pkg, run := vertex(fetchPrefix+"bash 5.2"), vertex("configure debian-12")
	run.Cached, run.Error = true, "exit code: 1"
	w.see(&client.SolveStatus{
		Vertexes: []*client.Vertex{pkg, run, {Name: "later", Digest: digest.FromString("later"), Error: "context canceled: context canceled"}},
		Statuses: []*client.VertexStatus{{Vertex: pkg.Digest, ID: "a", Current: 40, Timestamp: now}, {Vertex: run.Digest, ID: "b", Current: 7}},
		Logs: []*client.VertexLog{{Vertex: run.Digest, Stream: 1, Data: []byte("Setting up bash\n"), Timestamp: now},
			{Vertex: run.Digest, Stream: 2, Data: []byte("dpkg: error\n")}, {Vertex: run.Digest, Stream: 2, Data: []byte("\n")}},
	})
	if w.failed != "configure debian-12" || !w.cached["configure debian-12"] {
		t.Errorf("failed %q, cached %v", w.failed, w.cached)
	}
	o := w.out["configure debian-12"]
	if string(o.stdout.b) != "Setting up bash\n" || string(o.stderr.b) != "dpkg: error\n\n" {
		t.Errorf("output %q %q", o.stdout.b, o.stderr.b)
	}
	if len(events) != 3 || events[0].Current != 40 || events[0].Total != 100 || events[1].Message != "Setting up bash" || events[2].Message != "dpkg: error" {
		t.Errorf("events %+v", events)
	}
}

// A chatty step cannot fill the memory, and an error keeps the end, where the cause is.
func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var tl tail
	for i := range 10000 {
		tl.add(fmt.Appendf(nil, "line %d\n", i))
	}
	if len(tl.b) > 2*solveTail || !strings.HasSuffix(string(tl.b), "line 9999\n") {
		t.Errorf("%d bytes, ends %q", len(tl.b), tl.b[len(tl.b)-20:])
	}
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	fetch := fetchPrefix + "bash 5.2 from archive debian"
	for _, c := range []struct {
		name, failed string
		err          error
		kind         error
		says         string
	}{
		{"mismatch", fetch, errors.New("failed: digest mismatch sha256:a: sha256:b"), factory.ErrUnverified, "bash 5.2 from archive debian: its content is not what the lock names: sha256 mismatch"},
		{"gone", fetch, errors.New("invalid response status 404 Not Found"), factory.ErrUnavailable, "404, not there (any more)"},
		{"cut", fetch, errors.New("copy: unexpected EOF"), factory.ErrUnavailable, "the transfer was cut"},
		{"down", fetch, errors.New("dial tcp 10.0.0.1:80: connect: connection refused"), factory.ErrUnavailable, "connection refused"},
		{"name", fetch, errors.New("dial tcp: lookup archive.invalid: no such host"), factory.ErrUnavailable, "its name cannot be resolved"},
		{"other", fetch, errors.New("Get \"http://archive.invalid/x\": something else"), factory.ErrUnavailable, "something else"},
		{"full", "unpack debian-12", errors.New("write: no space left on device"), factory.ErrUnavailable, "disk full"},
		{"daemon", "", status.Error(codes.Unavailable, "closing"), factory.ErrUnavailable, "build service"},
		{"unknown", "unpack debian-12", errors.New("odd"), nil, "unpack debian-12: odd"},
		{"nameless", "", errors.New("odd"), nil, "build service: odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var events []factory.Event
			w := watching(&events)
			w.failed = c.failed
			err := (&Client{}).translate(c.err, w)
			if c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v: %s", err, c.kind, c.says)
			}
			if strings.Contains(err.Error(), "archive.invalid") {
				t.Errorf("names a host: %v", err)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	var events []factory.Event
	w := watching(&events)
	w.failed = "configure debian-12"
	w.out[w.failed] = &output{}
	w.out[w.failed].stderr.add([]byte("mawk: not found\n"))
	err := (&Client{}).translate(&gatewaypb.ExitError{ExitCode: 127, Err: errors.New("exit code: 127")}, w)
	var exit *stepError
	if !errors.As(err, &exit) || exit.exit != 127 || !strings.Contains(err.Error(), "configure debian-12: exit 127: mawk: not found") {
		t.Fatal(err)
	}
	if p := stepFailed(err); !strings.Contains(p.Error(), "mawk: not found") || errors.Is(p, factory.ErrUnavailable) {
		t.Error(p)
	}
	if p := stepFailed(&stepError{tail: "dpkg: cannot copy: No space left on device"}); !errors.Is(p, factory.ErrUnavailable) {
		t.Error(p)
	}
	if other := errors.New("x"); stepFailed(other) != other {
		t.Error("an error that is no exit code was changed")
	}
}

func TestNoBuildService(t *testing.T) {
	t.Parallel()
	if _, err := (&Client{}).Build(t.Context(), factory.Locked{Lock: factory.Lock{Platforms: make([]factory.LockedPlatform, 1)}}); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("neither address nor daemon: %v", err)
	}
	down := &Client{Addr: "unix:///nonexistent/buildkitd.sock"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := down.Run(ctx, factory.Step{Name: "x", Root: factory.Root{Platform: amd64}, Args: []string{"/bin/true"}})
	if !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "--buildkit") {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := down.Toolbox(); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("no toolbox: %v", err)
	}
	if _, err := down.Open(ctx, factory.Artifact{}, amd64); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("no such platform: %v", err)
	}
	if err := down.Close(); err != nil {
		t.Error(err)
	}
}
