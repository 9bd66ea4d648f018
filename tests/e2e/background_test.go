package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what ought to happen at once.
const patience = 30 * time.Second

// background is a factory that a script started, and what it has said so far.
type background struct {
	cmd    *exec.Cmd
	done   chan struct{}
	stderr string // file
}

// started holds the *background of each script, and asked a channel that an archive closes when it is asked; by the script's
// folder.
var started, asked sync.Map

func begin(ts *testscript.TestScript, args []string) *background {
	b := &background{done: make(chan struct{}), stderr: ts.MkAbs("background.stderr")}
	out, err := os.Create(b.stderr)
	ts.Check(err)
	defer out.Close()
	b.cmd = exec.Command(filepath.Join(binary, "factory"), args...)
	b.cmd.Dir, b.cmd.Stderr = ts.MkAbs("."), out
	for _, name := range []string{"PATH", "HOME", "GOCOVERDIR", "FACTORY_REGISTRY_ADDR", "FACTORY_SCANNER", "FACTORY_VULNERABILITIES"} {
		b.cmd.Env = append(b.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(b.cmd.Start())
	go func() { _ = b.cmd.Wait(); close(b.done) }()
	ts.Defer(func() { _ = b.cmd.Process.Kill(); <-b.done })
	started.Store(ts.Getenv("WORK"), b)
	return b
}

// said waits until the factory's stderr matches, and returns the match.
func (b *background) said(ts *testscript.TestScript, pattern *regexp.Regexp) []string {
	for deadline := time.Now().Add(patience); ; {
		text, err := os.ReadFile(b.stderr)
		ts.Check(err)
		if m := pattern.FindStringSubmatch(string(text)); m != nil {
			return m
		}
		select {
		case <-b.done:
			ts.Fatalf("it ended: %s\n%s", b.cmd.ProcessState, text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			ts.Fatalf("it does not say %s:\n%s", pattern, text)
		}
	}
}

var serving = regexp.MustCompile(`serving \S+ on ([^"\s]+)`)

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: serve ARG...")
	}
	b := begin(ts, append([]string{"registry", "serve"}, args...))
	ts.Setenv("SERVING", b.said(ts, serving)[1])
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	archive, ok := asked.Load(ts.Getenv("WORK"))
	if neg || !ok {
		ts.Fatalf("usage: start ARG..., after serve-archive hanging")
	}
	b := begin(ts, args)
	select {
	case <-archive.(chan struct{}):
	case <-b.done:
		ts.Fatalf("it ended: %s", b.cmd.ProcessState)
	case <-time.After(patience):
		ts.Fatalf("nobody asks the archive")
	}
}

func signal(ts *testscript.TestScript, neg bool, args []string) {
	v, ok := started.LoadAndDelete(ts.Getenv("WORK"))
	if neg || len(args) != 2 || !ok {
		ts.Fatalf("usage: signal SIGNAL N, after serve or start")
	}
	b := v.(*background)
	ts.Check(b.cmd.Process.Signal(map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[args[0]]))
	select {
	case <-b.done:
	case <-time.After(patience):
		ts.Fatalf("it does not end")
	}
	if got := b.cmd.ProcessState.ExitCode(); args[1] != strconv.Itoa(got) {
		ts.Fatalf("exit %d, want %s\n%s", got, args[1], ts.ReadFile(b.stderr))
	}
}
