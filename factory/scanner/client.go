package scanner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/imagefactory/imagefactory/factory"
)

// Client is a scanner: a program that speaks the protocol. It starts the program when it is first needed and whenever it has died,
// and is safe for concurrent use. Close it. Only Program is required.
type Client struct {
	Program string           // path of factory-scanner, or a name to look up in PATH
	Now     func() time.Time // for Scan.At; nil leaves that zero
	Events  factory.Events   // hears of deaths and of what the kernel does not allow
	// Timeout bounds the wait for one answer; 0 = 10 min. The scanner is ended when it passes, for it is stuck.
	Timeout time.Duration
	// StartTimeout bounds the wait for a new process to say who it is; 0 = 1 min.
	StartTimeout time.Duration
	Grace        time.Duration // how long the program may take to end when it is told to; 0 = 10 s
	Temp         string        // where it gets its folder for temporary files; empty = the system's

	once sync.Once
	// gate lets requests in together, and one alone: Open, and a request that may have killed the process.
	gate *semaphore.Weighted
	turn *semaphore.Weighted // guards live, and what it has opened
	live *conversation

	mu       sync.Mutex
	closed   bool
	noted    bool // that there is a network
	database database
}

// everybody is the gate's width.
const everybody = 1 << 30

var errClosed = errors.New("scanner: closed")

func (c *Client) timeout() time.Duration { return cmp.Or(c.Timeout, 10*time.Minute) }

// Hello says who the scanner is.
func (c *Client) Hello(ctx context.Context) (Greeting, error) {
	var greeting Greeting
	err := c.do(ctx, "say hello", 1, job{run: func(v *conversation, _ database) error {
		greeting = v.greeting
		return nil
	}})
	return greeting, err
}

// Open uses the database in dir from now on, when the requests under way are done. What the scanner says of the database must
// agree with known, which adds what only its keeper knows, digest and origin; the zero value adds nothing. After an error
// the database that was open before stays in use.
func (c *Client) Open(ctx context.Context, dir string, known factory.Database) (factory.Database, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return factory.Database{}, err
	}
	var db factory.Database
	err = c.do(ctx, "open the database", everybody, job{run: func(v *conversation, _ database) (err error) {
		if db, err = v.open(ctx, dir, c.timeout()); err != nil {
			return err
		}
		if db, err = identify(dir, db, known); err != nil {
			v.opened = ""
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.database = database{dir, db}
		return nil
	}})
	return db, err
}

// identify joins what the scanner and the keeper know of a database.
func identify(dir string, says, known factory.Database) (factory.Database, error) {
	if known.Kind != "" && known.Kind != says.Kind || !known.Updated.IsZero() && !known.Updated.Equal(says.Updated) {
		return factory.Database{}, badDatabase(dir, fmt.Errorf("it says that it is %s, and its record that it is %s", says, known))
	}
	says.Digest = cmp.Or(known.Digest, says.Digest)
	says.Origin = cmp.Or(known.Origin, says.Origin)
	return says, nil
}

// Check reads all of the database in dir in a process of its own, and uses none of it. ErrUnverified when it is damaged, also
// when the scanner dies of it.
func (c *Client) Check(ctx context.Context, dir string) (factory.Database, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return factory.Database{}, err
	}
	reply, err := c.apart(ctx, Request{Op: Check, Dir: dir}, "check the database in "+dir)
	if dead(err) != nil { // perhaps of something else
		reply, err = c.apart(ctx, Request{Op: Check, Dir: dir}, "check the database in "+dir)
	}
	if d := dead(err); d != nil && d.during == "" {
		return factory.Database{}, badDatabase(dir, d)
	}
	if err != nil {
		return factory.Database{}, c.final("check the database", err)
	}
	if reply.Error != nil {
		return factory.Database{}, databaseFault(dir, reply.Error)
	}
	return *reply.Database, nil
}

// Build makes a database from advisories in dir, an empty folder, in a process of its own. After an error dir is useless.
func (c *Client) Build(ctx context.Context, dir string, advisories []factory.Advisories) (factory.Database, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return factory.Database{}, err
	}
	reply, err := c.apart(ctx, Request{Op: Build, Dir: dir, Advisories: advisories}, "build a database")
	if err != nil {
		return factory.Database{}, c.final("build a database", err)
	}
	if reply.Error != nil {
		return factory.Database{}, reply.Error.problem("build a database")
	}
	return *reply.Database, nil
}

// apart asks one thing of a new process that ends with the answer.
func (c *Client) apart(ctx context.Context, req Request, what string) (Reply, error) {
	v, err := c.begin(ctx)
	if err != nil {
		return Reply{}, err
	}
	reply, err := v.ask(ctx, req, what, c.timeout())
	v.program.kill() // it has done what it was for
	<-v.done
	return reply, err
}

// Close ends the scanner and waits until it is gone. Requests under way and later ones are errors. Closing twice does nothing.
func (c *Client) Close() error {
	c.once.Do(c.init)
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	// Whoever has its turn now is about to give it back: starting is bounded.
	if err := c.turn.Acquire(context.Background(), 1); err != nil {
		return err
	}
	defer c.turn.Release(1)
	if c.live != nil {
		c.live.end(cmp.Or(c.Grace, 10*time.Second))
	}
	return nil
}

func (c *Client) init() {
	c.gate, c.turn = semaphore.NewWeighted(everybody), semaphore.NewWeighted(1)
}
