// Package proc runs external programs.
//
// Rules: arguments are a list and never pass through a shell; a program gets a session of its own, so that it can neither
// ask questions on the factory's terminal nor survive it; output is streamed; secrets named in Command.Redact
// appear neither in what is streamed nor in an error; an error says which program, how it ended, the last lines it
// wrote to stderr and, when the factory gave up on it, what was waited for. Linux only.
package proc

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// DefaultGrace is how long a program may take to end after SIGTERM when Command.Grace is zero.
const DefaultGrace = 10 * time.Second

// Command is a program to run. Only Args is required.
type Command struct {
	// Args is the program (a path, or a name to look up in PATH) and its arguments.
	Args []string
	Dir  string // working directory; empty = the factory's
	// Env is the whole environment, KEY=value. Nil inherits the factory's.
	Env []string
	// Set changes the environment: KEY=value sets, KEY alone removes.
	Set []string
	// Stdin is what the program reads; nil is empty input. A Read that never returns holds up Wait, except for an *os.File.
	Stdin io.Reader
	// Stdout and Stderr receive output while the program runs; nil discards. Writes are never concurrent, so both may
	// be the same Writer. A Writer that fails does not stop the program; the failure is reported when it has ended.
	Stdout, Stderr io.Writer
	// Redact are secrets that output and errors show as ***. Empty strings are ignored.
	Redact []string
	// Grace is the time between SIGTERM and SIGKILL; 0 means DefaultGrace.
	Grace time.Duration
	// DeathSignal is sent to the program when the factory itself dies, even by kill -9; 0 means SIGKILL. A daemon
	// with children of its own is better served by SIGTERM.
	DeathSignal syscall.Signal
}

// Result is how a program ended.
type Result struct {
	Exit   int    // exit code; 128 plus the number for a program that died of a signal
	Signal string // "killed", "terminated"; empty = it exited by itself
	Tail   string // the last lines of stderr, at most 4 KiB, redacted
}

// Run starts the program and waits for it. When ctx ends first the program's process group gets SIGTERM and, after
// Grace, SIGKILL.
//
// The error is an *ExitError when the program ran and did not exit 0, and matches factory.ErrUnavailable when the program is not
// installed. Result is valid in both cases.
func (c Command) Run(ctx context.Context) (Result, error) {
	p, err := c.Start(ctx)
	if err != nil {
		return Result{}, err
	}
	return p.Wait()
}

// name is what errors call the program.
func (c Command) name() string { return filepath.Base(c.Args[0]) }

func (c Command) check() error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "a command without a program"}
	}
	for _, arg := range c.Args {
		if strings.ContainsRune(arg, 0) {
			return &factory.Problem{Kind: factory.ErrInvalid, What: c.name() + ": an argument contains a NUL byte"}
		}
	}
	return nil
}

func (c Command) exec(out *output) *exec.Cmd {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.Dir, c.Env, c.Stdin
	if len(c.Set) > 0 {
		cmd.Env = change(cmd.Environ(), c.Set)
	}
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	cmd.WaitDelay = c.grace()
	death := c.DeathSignal
	if death == 0 {
		death = syscall.SIGKILL
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: death}
	return cmd
}

func (c Command) grace() time.Duration {
	if c.Grace > 0 {
		return c.Grace
	}
	return DefaultGrace
}

// change returns env with the changes of set applied.
func change(env, set []string) []string {
	for _, s := range set {
		key, _, assign := strings.Cut(s, "=")
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		if assign {
			env = append(env, s)
		}
	}
	return env
}
