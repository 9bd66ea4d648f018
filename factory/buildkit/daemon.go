package buildkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
)

// Daemon is a buildkitd of the factory's own, as root, with nothing of its cache shared with anybody.
type Daemon struct {
	// Binary is the program's path; empty looks next to the factory's own binary (Beside) and then in PATH.
	Binary string
	Beside string
	// Dir holds its state, its temporary files and its log, buildkitd.log.
	Dir string
	// CacheBytes is how much build cache it keeps; 0 means 10 GiB.
	CacheBytes int64
	// Env is its environment, KEY=value; nil inherits the factory's.
	Env []string
	// Events receives what it does; nil discards.
	Events factory.Events
}

// errTaken is a daemon that ended because another one has its state.
var errTaken = errors.New("another buildkitd uses this state directory")

// Start starts the daemon and waits until it answers. The stop function ends it and waits; it is safe to call twice.
// A daemon outlives a cancelled ctx until it is stopped, but never the factory's own process.
//
// A daemon of a run that was killed a moment ago may still be on its way out: Start waits for it up to 30 s.
func (d *Daemon) Start(ctx context.Context) (addr string, stop func(), err error) {
	binary, err := d.find()
	if err != nil {
		return "", nil, err
	}
	d.Events.Emit(factory.Event{Kind: factory.Noted, Message: "starting buildkitd"})
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	for {
		addr, stop, err = d.start(ctx, binary)
		if !errors.Is(err, errTaken) {
			return addr, stop, err
		}
		select {
		case <-ctx.Done():
			return "", nil, context.Cause(ctx)
		case <-patience.C:
			return "", nil, &factory.Problem{Kind: factory.ErrBusy, What: "build service", Cause: errTaken, Hint: "wait until the other run has ended: factory runs"}
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (d *Daemon) start(ctx context.Context, binary string) (addr string, stop func(), err error) {
	if err := os.MkdirAll(filepath.Join(d.Dir, "root"), 0o700); err != nil {
		return "", nil, fmt.Errorf("build service: %w", err)
	}
	if err := d.sweep(); err != nil {
		return "", nil, err
	}
	// The daemon takes a path that leads through a link for one that somebody changed meanwhile.
	temporary, err := filepath.EvalSymlinks(d.tempDir())
	if err != nil {
		return "", nil, fmt.Errorf("build service: %w", err)
	}
	logFile := filepath.Join(d.Dir, "buildkitd.log")
	_ = os.Rename(logFile, logFile+".1")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("build service: %w", err)
	}
	run, err := d.socketDir()
	if err != nil {
		_ = log.Close()
		return "", nil, fmt.Errorf("build service: %w", err)
	}
	clean := func() { _ = log.Close(); _ = os.RemoveAll(run) }
	addr = "unix://" + filepath.Join(run, "buildkitd.sock")
	p, err := proc.Command{
		Args: []string{binary, "--root", filepath.Join(d.Dir, "root"), "--addr", addr, "--oci-worker-net=host",
			"--oci-worker-gc=true", "--oci-worker-gc-keepstorage", strconv.FormatInt(d.cacheMiB(), 10), "--otel-socket-path", filepath.Join(run, "otel.sock")},
		Env: d.Env, Set: []string{"TMPDIR=" + temporary}, Stdout: log, Stderr: log, DeathSignal: syscall.SIGTERM, Grace: 20 * time.Second,
	}.Start(context.WithoutCancel(ctx))
	if err != nil {
		clean()
		return "", nil, fmt.Errorf("build service: %w", err)
	}
	stop = func() { _ = p.Stop(context.Background()); clean() }
	if err := d.await(ctx, p, addr); err != nil {
		stop()
		return "", nil, err
	}
	return addr, stop, nil
}

func (d *Daemon) cacheMiB() int64 {
	if d.CacheBytes == 0 {
		return 10 << 10
	}
	return d.CacheBytes >> 20
}

// await polls until the daemon answers, ends, or 30 s are over.
func (d *Daemon) await(ctx context.Context, p *proc.Process, addr string) error {
	began := time.NewTimer(30 * time.Second)
	defer began.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	down := &factory.Problem{Kind: factory.ErrUnavailable, What: "buildkitd does not answer",
		Hint: "read " + filepath.Join(d.Dir, "buildkitd.log") + "; is another factory using this state directory?"}
	for {
		if answers(ctx, addr) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.Done():
			result, err := p.Wait()
			if strings.Contains(result.Tail, "could not lock") {
				return errTaken
			}
			down.Cause = err
			if down.Cause == nil {
				down.Cause = errors.New("it ended")
			}
			return down
		case <-began.C:
			down.Cause = errors.New("waited 30 s")
			return down
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, addr string) bool {
	c, err := client.New(ctx, addr)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = c.ListWorkers(ctx)
	return err == nil
}

// find returns the daemon's binary and checks that what it needs is there.
func (d *Daemon) find() (string, error) {
	if os.Geteuid() != 0 {
		return "", &factory.Problem{Kind: factory.ErrUnavailable, What: "the factory's own buildkitd needs root",
			Hint: "run as root, or use a running daemon: --buildkit ADDR"}
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return "", &factory.Problem{Kind: factory.ErrUnavailable, What: "runc is not installed", Hint: "apt-get install runc"}
	}
	if d.Binary != "" {
		return d.Binary, nil
	}
	if d.Beside != "" {
		if b := filepath.Join(d.Beside, "buildkitd"); executable(b) {
			return b, nil
		}
	}
	if b, err := exec.LookPath("buildkitd"); err == nil {
		return b, nil
	}
	return "", &factory.Problem{Kind: factory.ErrUnavailable, What: "buildkitd is not there", Hint: "build it: make bin/buildkitd; or use a running daemon: --buildkit ADDR"}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
