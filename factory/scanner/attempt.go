package scanner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// job is what is done in a conversation.
type job struct {
	matches bool // needs the open database
	run     func(*conversation, database) error
}

// database is one that is in use.
type database struct {
	dir string
	factory.Database
}

// do runs a job in the conversation with the scanner, among others or alone. A job whose scanner dies is run once more, alone, so
// that a second death is its own doing and nobody else's.
func (c *Client) do(ctx context.Context, what string, width int64, job job) error {
	c.once.Do(c.init)
	err := c.attempt(ctx, width, job)
	d := dead(err)
	if d == nil {
		return err
	}
	if c.isClosed() {
		return errClosed
	}
	c.Events.Emit(factory.Event{Kind: factory.Warned, Message: fmt.Sprintf("%s: %s; trying again with a new one", what, d)})
	if err = c.attempt(ctx, everybody, job); dead(err) == nil {
		return err
	}
	return c.final(what, err)
}

func (c *Client) attempt(ctx context.Context, width int64, job job) error {
	if err := c.gate.Acquire(ctx, width); err != nil {
		return fmt.Errorf("scanner: waiting for other requests: %w", context.Cause(ctx))
	}
	defer c.gate.Release(width)
	var db database
	if job.matches {
		c.mu.Lock()
		db = c.database // stays: Open waits for the job
		c.mu.Unlock()
		if db.dir == "" {
			return &factory.Problem{Kind: factory.ErrNotFound, What: "scanner: no vulnerability database is open", Hint: anotherDatabase}
		}
	}
	v, err := c.talk(ctx, db.dir)
	if err != nil {
		return err
	}
	return job.run(v, db)
}

// talk returns the conversation with a scanner that runs, and has the database in dir open; an empty dir is any or none.
func (c *Client) talk(ctx context.Context, dir string) (*conversation, error) {
	if err := c.turn.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("scanner: waiting for it to start: %w", context.Cause(ctx))
	}
	defer c.turn.Release(1)
	if c.isClosed() {
		return nil, errClosed
	}
	if c.live == nil || c.live.over() {
		v, err := c.begin(ctx)
		if err != nil {
			return nil, err
		}
		c.live = v
	}
	if dir != "" && c.live.opened != dir {
		if _, err := c.live.open(ctx, dir, c.timeout()); err != nil {
			return nil, err
		}
	}
	return c.live, nil
}

// forget makes the next request open the database anew.
func (c *Client) forget(ctx context.Context) error {
	if err := c.turn.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("scanner: waiting for it to start: %w", context.Cause(ctx))
	}
	defer c.turn.Release(1)
	if c.live != nil {
		c.live.opened = ""
	}
	return nil
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// open is run by one at a time: under the gate's whole width, or in turn.
func (v *conversation) open(ctx context.Context, dir string, limit time.Duration) (factory.Database, error) {
	v.opened = ""
	reply, err := v.ask(ctx, Request{Op: Open, Dir: dir}, "open the database in "+dir, limit)
	if d := dead(err); d != nil {
		return factory.Database{}, &death{how: d.how, words: d.words, during: Open, dir: dir}
	}
	if err != nil {
		return factory.Database{}, err
	}
	if reply.Error != nil {
		return factory.Database{}, databaseFault(dir, reply.Error)
	}
	v.opened = dir
	return *reply.Database, nil
}

// begin starts a process and hears who it is.
func (c *Client) begin(ctx context.Context) (*conversation, error) {
	p, err := c.launch(true)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		c.note(err)
		p, err = c.launch(false)
	}
	if err != nil {
		return nil, err
	}
	v := converse(p)
	reply, err := v.ask(ctx, Request{Op: Hello}, "say hello", cmp.Or(c.StartTimeout, time.Minute))
	switch d := dead(err); {
	case d != nil:
		return nil, &death{how: d.how, words: d.words, during: Hello}
	case err == nil && reply.Error != nil:
		err = reply.Error.problem("say hello")
	case err == nil && (reply.Hello.Protocol != ProtocolVersion || reply.Hello.Name == ""):
		err = &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("scanner %s speaks protocol %d, and this program %d", c.Program, reply.Hello.Protocol, ProtocolVersion),
			Hint: "make build, so that both are of one version"}
	}
	if err != nil {
		p.kill()
		<-v.done
		return nil, err
	}
	v.greeting = *reply.Hello
	return v, nil
}

// note says once that the scanner has a network.
func (c *Client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.noted {
		c.Events.Emit(factory.Event{Kind: factory.Noted, Message: fmt.Sprintf("the scanner runs with this machine's network, which it does not use: a network of its own is not allowed here (%s)", err)})
	}
	c.noted = true
}
