package buildkit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/imagefactory/imagefactory/factory"
)

// solveTail is how many bytes of a vertex's output an error keeps.
const solveTail = 16 << 10

// watch is what a solve reports about itself while it runs.
type watch struct {
	image  string
	step   factory.StepName
	events factory.Events

	mu     sync.Mutex
	names  map[digest.Digest]string
	failed string // name of the vertex that failed
	cached map[string]bool
	out    map[string]*output // by vertex name
	bytes  map[string]int64
	total  int64 // bytes of all packages; 0 = unknown
}

func newWatch(events factory.Events, image string, step factory.StepName) *watch {
	return &watch{events: events, image: image, step: step, names: map[digest.Digest]string{}, cached: map[string]bool{}, out: map[string]*output{}, bytes: map[string]int64{}}
}

// output keeps the end of what one vertex printed.
type output struct{ stdout, stderr tail }

type tail struct{ b []byte }

func (t *tail) add(b []byte) {
	t.b = append(t.b, b...)
	if len(t.b) > 2*solveTail {
		t.b = append([]byte(nil), t.b[len(t.b)-solveTail:]...)
	}
}

// solve runs a definition and translates what goes wrong.
func (c *Client) solve(ctx context.Context, def *llb.Definition, w *watch, exports ...client.ExportEntry) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	statuses := make(chan *client.SolveStatus, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range statuses {
			w.see(s)
		}
	}()
	_, err = conn.Solve(ctx, def, client.SolveOpt{Exports: exports, OCIStores: c.storesOf(def), Session: c.attachable()}, statuses)
	<-done
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.translate(err, w)
}

// see takes in one status message.
func (w *watch) see(s *client.SolveStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range s.Vertexes {
		w.names[v.Digest] = v.Name
		if v.Cached {
			w.cached[v.Name] = true
		}
		if v.Error != "" && !strings.Contains(v.Error, "context canceled") && w.failed == "" {
			w.failed = v.Name
		}
	}
	for _, st := range s.Statuses {
		if strings.HasPrefix(w.names[st.Vertex], fetchPrefix) && st.Current > 0 {
			w.bytes[st.Vertex.String()+st.ID] = st.Current
		}
	}
	if len(s.Statuses) > 0 && w.total > 0 {
		var sum int64
		for _, n := range w.bytes {
			sum += n
		}
		if sum > 0 {
			w.events.Emit(factory.Event{Kind: factory.Advanced, Image: w.image, Step: w.step, Message: "fetch packages",
				Current: min(sum, w.total), Total: w.total, Unit: "bytes"})
		}
	}
	for _, l := range s.Logs {
		w.log(w.names[l.Vertex], l)
	}
}

func (w *watch) log(name string, l *client.VertexLog) {
	o := w.out[name]
	if o == nil {
		o = &output{}
		w.out[name] = o
	}
	if l.Stream == 1 {
		o.stdout.add(l.Data)
	} else {
		o.stderr.add(l.Data)
	}
	if line := lastLine(l.Data); line != "" {
		w.events.Emit(factory.Event{Time: l.Timestamp, Kind: factory.Advanced, Image: w.image, Step: w.step, Message: line})
	}
}

func lastLine(b []byte) string {
	s := strings.TrimSpace(string(b))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// exitOf returns the exit code that a failed command left, and whether there is one.
func exitOf(err error) (int, bool) {
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		return int(exit.ExitCode), true
	}
	return 0, false
}

// stepError is a command that exited other than 0.
type stepError struct {
	name string
	exit int
	tail string
}

func (e *stepError) Error() string {
	return fmt.Sprintf("%s: exit %d: %s", e.name, e.exit, e.tail)
}

// translate says in the factory's words what a solve ended with.
func (c *Client) translate(err error, w *watch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := err.Error()
	pkg, fetch := strings.CutPrefix(w.failed, fetchPrefix)
	if code, ok := exitOf(err); ok {
		e := &stepError{name: w.failed, exit: code}
		if o := w.out[w.failed]; o != nil {
			e.tail = strings.TrimSpace(string(o.stdout.b) + string(o.stderr.b))
		}
		if !fetch {
			return e
		}
		text = e.tail
	}
	if fetch {
		if strings.Contains(text, "digest mismatch") || strings.Contains(text, "checksum") {
			return &factory.Problem{Kind: factory.ErrUnverified, What: pkg + ": its content is not what the lock names",
				Hint: "the archive or a proxy on the way changed it; run factory lock again, and tell the archive's owner if it stays", Cause: errors.New("sha256 mismatch")}
		}
		return undelivered(pkg, text)
	}
	if strings.Contains(text, "no space left on device") {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "build service: disk full", Hint: "free space in the state directory", Cause: err}
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "build service", Cause: err, Hint: "see buildkitd.log in the state directory"}
	}
	return fmt.Errorf("%s: %w", cmp.Or(w.failed, "build service"), err)
}

func undelivered(pkg, why string) error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: pkg + ": the archive did not deliver it",
		Hint: "run factory lock if the archive has moved on, or try again", Cause: errors.New(fetchCause(why))}
}

// fetchCause keeps what happened and drops the URL, which names a host.
func fetchCause(text string) string {
	switch {
	case strings.Contains(text, "status 404"):
		return "404, not there (any more)"
	case strings.Contains(text, "status 401"), strings.Contains(text, "status 403"):
		return "it does not let this machine in: has its entitlement ended?"
	case strings.HasPrefix(text, "TLS: "):
		return text
	case strings.Contains(text, "unexpected EOF"):
		return "the transfer was cut"
	case strings.Contains(text, "connection refused"):
		return "connection refused"
	case strings.Contains(text, "no such host"):
		return "its name cannot be resolved"
	}
	return text[strings.LastIndex(text, ": ")+1:]
}

// Export streams a root as a tar. Order and metadata are the daemon's; package oci makes them deterministic.
func (c *Client) Export(ctx context.Context, r factory.Root, to io.Writer) error {
	st, err := unmarshal(r)
	if err != nil {
		return err
	}
	def, err := st.Marshal(ctx, llb.Platform(ociPlatform(r.Platform)))
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	w := newWatch(nil, "", factory.StepPack)
	return c.solve(ctx, def, w, client.ExportEntry{
		Type:   client.ExporterTar,
		Output: func(map[string]string) (io.WriteCloser, error) { return nopCloser{to}, nil },
	})
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
