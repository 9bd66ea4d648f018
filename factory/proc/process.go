package proc

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs.
type Process struct {
	command Command
	cmd     *exec.Cmd
	out     *output
	done    chan struct{} // closed when result and err are final

	mu       sync.Mutex
	exited   bool  // the program has ended, its id may soon belong to another
	stopping bool  // it was asked to end
	cause    error // why, when it was a context

	result Result
	err    error
}

// Start starts the program and returns while it runs. It is stopped when ctx ends; give it context.WithoutCancel(ctx) to have a
// daemon outlive the work that it serves, and Stop it.
func (c Command) Start(ctx context.Context) (*Process, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: not started: %w", c.name(), context.Cause(ctx))
	}
	out := newOutput(c)
	p := &Process{command: c, cmd: c.exec(out), out: out, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, c.notStarted(err)
	}
	unwatch := context.AfterFunc(ctx, func() { p.end(context.Background(), context.Cause(ctx)) })
	go func() {
		<-p.done
		unwatch()
	}()
	return p, nil
}

// run forks, and keeps its thread until the program has ended: the kernel sends the death signal when the forking
// thread ends, not when the factory does.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	awaitExit(p.cmd.Process.Pid)
	p.mu.Lock()
	p.exited = true
	if p.stopping { // what it left behind goes with it, while its id still names the group
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	p.mu.Unlock()
	p.finish(p.cmd.Wait())
	close(p.done)
}

// awaitExit returns when the process has ended, and leaves it to be reaped.
func awaitExit(pid int) {
	const idtypePID, nowait = 1, syscall.WEXITED | syscall.WNOWAIT
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, idtypePID, uintptr(pid), 0, nowait, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

func (p *Process) finish(waited error) {
	p.out.flush()
	p.result = Result{Tail: p.out.tail.String()}
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if p.result.Exit = status.ExitStatus(); status.Signaled() {
		p.result.Exit, p.result.Signal = 128+int(status.Signal()), status.Signal().String()
	}
	var exit *exec.ExitError
	switch {
	case p.cause != nil:
		p.err = &ExitError{Name: p.command.name(), Result: p.result, Cause: p.cause}
	case p.stopping:
	case errors.As(waited, &exit):
		p.err = &ExitError{Name: p.command.name(), Result: p.result}
	case errors.Is(waited, exec.ErrWaitDelay):
		p.err = fmt.Errorf("%s: ended, but something it started still holds its output", p.command.name())
	case waited != nil:
		p.err = fmt.Errorf("%s: %w", p.command.name(), waited)
	case p.out.err != nil:
		p.err = fmt.Errorf("%s: writing its output: %w", p.command.name(), p.out.err)
	}
}

// PID returns the process id, which is the id of its process group as well.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the program ended, when it has. A program that ended because of Stop ended well. Wait may be
// called any number of times.
func (p *Process) Wait() (Result, error) {
	<-p.done
	return p.result, p.err
}

// Stop ends the program and all of its process group: SIGTERM, then SIGKILL after Grace or when ctx ends. It returns
// when the program has ended; the error says that SIGKILL was needed. Stopping a program that has ended does nothing.
func (p *Process) Stop(ctx context.Context) error { return p.end(ctx, nil) }

func (p *Process) end(ctx context.Context, cause error) error {
	if !p.signal(syscall.SIGTERM, cause) {
		<-p.done
		return nil
	}
	patience := time.NewTimer(p.command.grace())
	defer patience.Stop()
	select {
	case <-p.done:
		return nil
	case <-patience.C:
	case <-ctx.Done():
	}
	p.signal(syscall.SIGKILL, cause)
	<-p.done
	return fmt.Errorf("%s: had to be killed, it did not end after SIGTERM within %v", p.command.name(), p.command.grace())
}

// signal reports whether there was still something to signal.
func (p *Process) signal(sig syscall.Signal, cause error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exited {
		return false
	}
	if !p.stopping {
		p.stopping, p.cause = true, cause
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	return true
}
