package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy/pkg/db"
)

// server answers the requests of one conversation.
type server struct {
	width int // how many requests are worked on at a time
	db    database
	temp  workspace
	java  java

	mu sync.Mutex // held while writing
}

func newServer(width int) *server { return &server{width: width} }

// serve answers requests until in ends and all of them are answered.
func (s *server) serve(in io.Reader, out io.Writer) error {
	defer s.db.close()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, s.width)
	for {
		var req scanner.Request
		switch err := scanner.ReadFrame(in, &req); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading a request: %w", err)
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			s.reply(out, s.answer(req))
		})
	}
}

// reply writes one reply. When it is too long, it says so instead. When nobody listens any more, stdin is about to end.
func (s *server) reply(out io.Writer, r scanner.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := scanner.WriteFrame(out, r); err != nil {
		_ = scanner.WriteFrame(out, scanner.Reply{ID: r.ID, Error: faultOf(err)})
	}
}

func (s *server) answer(req scanner.Request) (reply scanner.Reply) {
	reply.ID = req.ID
	defer func() {
		if p := recover(); p != nil {
			reply = scanner.Reply{ID: req.ID, Error: faultOf(fmt.Errorf("%s: %v: %s", req.Op, p, culprit(debug.Stack())))}
		}
	}()
	if err := s.do(req, &reply); err != nil {
		reply = scanner.Reply{ID: req.ID, Error: faultOf(err)}
	}
	return reply
}

func (s *server) do(req scanner.Request, reply *scanner.Reply) (err error) {
	ctx := context.Background()
	switch req.Op {
	case scanner.Hello:
		reply.Hello = &scanner.Greeting{
			Name: "trivy", Version: trivyVersion, Protocol: scanner.ProtocolVersion, Schema: db.SchemaVersion,
			Databases: []string{db.DefaultGCRRepository, db.DefaultGHCRRepository},
		}
	case scanner.Open:
		reply.Database, err = s.db.use(req.Dir)
	case scanner.Check:
		reply.Database, err = check(req.Dir)
	case scanner.Build:
		reply.Database, err = build(req.Dir, req.Advisories)
	case scanner.Know:
		reply.Known, err = s.know(req.Vulnerability)
	case scanner.Image:
		reply.Result, err = s.image(ctx, req)
	case scanner.SBOM:
		reply.Result, err = s.sbom(ctx, req.SBOM)
	default:
		err = &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.40q is no operation of this scanner", req.Op)}
	}
	return err
}

// maxWhat is the longest text of a fault, in bytes.
const maxWhat = 1000

var kinds = []struct {
	name string
	kind error
}{
	{"invalid", factory.ErrInvalid}, {"not found", factory.ErrNotFound}, {"unverified", factory.ErrUnverified}, {"unavailable", factory.ErrUnavailable},
}

// faultOf translates an error for the other side.
func faultOf(err error) *scanner.Fault {
	f := &scanner.Fault{Kind: "unexpected", What: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			f.Kind = k.name
			break
		}
	}
	if p, ok := errors.AsType[*factory.Problem](err); ok {
		f.What, f.Hint = p.What, p.Hint
		if p.Cause != nil {
			f.What += ": " + p.Cause.Error()
		}
	}
	f.What = strings.Join(strings.Fields(f.What), " ")
	if len(f.What) > maxWhat {
		f.What = strings.ToValidUTF8(f.What[:maxWhat], "") + " ..."
	}
	return f
}

// culprit returns the function that panicked, of a stack as debug.Stack gives it within the function that recovers.
func culprit(stack []byte) string {
	_, after, _ := strings.Cut(string(stack), "\npanic(")
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "runtime") && strings.Contains(line, "/") {
			name, _, _ := strings.Cut(line[strings.LastIndex(line, "/")+1:], "(")
			return "in " + name
		}
	}
	return "somewhere"
}
