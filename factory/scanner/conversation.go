package scanner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// conversation is many requests at once over one process.
type conversation struct {
	program  *process
	greeting Greeting
	opened   string // folder of the open database; guarded by Client.turn

	writing sync.Mutex
	done    chan struct{} // closed when the process was reaped and err is final
	err     *death

	mu      sync.Mutex
	last    uint64
	calls   map[uint64]*call // asked and not answered, whoever still waits
	cause   error            // why the factory ended it; nil = it ended by itself
	overdue *call            // for which it was ended
}

// call is one request under way.
type call struct {
	in    *conversation
	op    Op
	what  string // for people: "scan debian-12 linux/amd64"
	reply chan Reply
	late  *time.Timer
	limit time.Duration
}

// death is a process that ended with requests under way.
type death struct {
	how, words string
	during     Op     // Hello or Open, when it died before the request itself
	dir        string // of the database that Open was about
}

// Error says how it died and what it said last.
func (d *death) Error() string {
	if d.words == "" {
		return "the scanner " + d.how
	}
	return "the scanner " + d.how + ": " + d.words
}

func converse(p *process) *conversation {
	v := &conversation{program: p, done: make(chan struct{}), calls: map[uint64]*call{}}
	go v.listen()
	return v
}

// send asks and does not wait. A request that is not answered in time ends the process, also when nobody waits for the answer
// any more: it is stuck.
func (v *conversation) send(req Request, what string, limit time.Duration) (*call, error) {
	v.mu.Lock()
	v.last++
	req.ID = v.last
	v.mu.Unlock()
	frame, err := encodeFrame(req, MaxFrame)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "scanner: " + what, Cause: err}
	}
	a := &call{in: v, op: req.Op, what: what, reply: make(chan Reply, 1), limit: limit}
	v.mu.Lock()
	v.calls[req.ID] = a
	if a.late = time.AfterFunc(limit, func() { v.expire(a) }); v.err != nil {
		a.late.Stop() // wait knows already
	}
	v.mu.Unlock()
	go func() {
		v.writing.Lock()
		defer v.writing.Unlock()
		_, _ = v.program.stdin.Write(frame) // the end of the process says more than a broken pipe
	}()
	return a, nil
}

// wait returns the answer.
func (a *call) wait(ctx context.Context) (Reply, error) {
	select {
	case r := <-a.reply:
		return r, nil
	case <-a.in.done:
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("%s: %w", a.what, context.Cause(ctx))
	}
	select {
	case r := <-a.reply: // its last act
		return r, nil
	default:
	}
	a.in.mu.Lock()
	defer a.in.mu.Unlock()
	if a.in.overdue == a {
		return Reply{}, &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("scanner: waited %s for the answer to: %s", a.limit, a.what),
			Hint: "run the same command again; when it stays so, this machine is too slow or this input too much for the scanner"}
	}
	return Reply{}, a.in.err
}

func (v *conversation) ask(ctx context.Context, req Request, what string, limit time.Duration) (Reply, error) {
	a, err := v.send(req, what, limit)
	if err != nil {
		return Reply{}, err
	}
	return a.wait(ctx)
}

func (v *conversation) expire(a *call) {
	v.mu.Lock()
	if v.cause == nil && v.err == nil && len(a.reply) == 0 {
		v.cause, v.overdue = fmt.Errorf("did not answer within %s: %s", a.limit, a.what), a
	}
	late := v.overdue != nil
	v.mu.Unlock()
	if late {
		v.program.kill()
	}
}

// listen delivers answers until there are none any more.
func (v *conversation) listen() {
	r := bufio.NewReaderSize(v.program.stdout, 64<<10)
	var err error
	for err == nil {
		var reply Reply
		if err = ReadFrame(r, &reply); err == nil {
			err = v.deliver(reply)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) {
		err = nil
	}
	v.bury(err)
}

// bury ends the process, for a reason or because it has ended.
func (v *conversation) bury(reason error) {
	v.program.kill()
	how := v.program.buried()
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.cause != nil:
		how = v.cause.Error()
	case reason != nil:
		how = "does not speak the protocol: " + clean(reason.Error())
	}
	for _, a := range v.calls {
		a.late.Stop()
	}
	v.err = &death{how: how, words: v.program.stderr.String()}
	close(v.done)
}

func (v *conversation) deliver(r Reply) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, asked := v.calls[r.ID]
	if !asked {
		return fmt.Errorf("an answer to request %d, which is not open", r.ID)
	}
	if err := r.answers(a.op); err != nil {
		return err
	}
	delete(v.calls, r.ID)
	a.late.Stop()
	a.reply <- r
	return nil
}

// answers reports whether the reply has what the operation asks for.
func (r Reply) answers(op Op) error {
	var has bool
	switch op {
	case Hello:
		has = r.Hello != nil
	case Open, Check, Build:
		has = r.Database != nil && r.Database.Kind != ""
	case Image:
		has = r.Result != nil && len(r.Result.CycloneDX) > 0 && len(r.Result.SPDX) > 0
	case SBOM:
		has = r.Result != nil
	case Know:
		has = r.Known != nil
	}
	if !has && r.Error == nil {
		return fmt.Errorf("an answer to %q without what was asked for", op)
	}
	return nil
}

// end lets the process finish, for so long, and reaps it.
func (v *conversation) end(grace time.Duration) {
	v.mu.Lock()
	if v.cause == nil {
		v.cause = errors.New("was told to end")
	}
	v.mu.Unlock()
	_ = v.program.stdin.Close()
	patience := time.AfterFunc(grace, v.program.kill)
	defer patience.Stop()
	<-v.done
}

// over reports whether the process has ended.
func (v *conversation) over() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}
