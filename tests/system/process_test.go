package system_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// patience is how long anything may take before it counts as stuck. On a machine that does nothing else the longest takes a fifth.
const patience = 10 * time.Minute

// result is how a program ended.
type result struct {
	Exit   int
	Stdout string
	Events []factory.Event
	Lines  []string // of stderr that are no events
	Told   []string // Lines, and what events say of no image in particular
	Took   time.Duration
}

// last is the last that was told on stderr.
func (r result) last() string {
	if len(r.Told) == 0 {
		return ""
	}
	return r.Told[len(r.Told)-1]
}

// said is all that was told in one text.
func (r result) said() string { return strings.Join(r.Told, "\n") }

// saw reports whether there was such an event.
func (r result) saw(match func(factory.Event) bool) bool { return slices.ContainsFunc(r.Events, match) }

// process is a driver that runs.
type process struct {
	cmd    *exec.Cmd
	args   []string
	began  time.Time
	stdout bytes.Buffer
	done   chan struct{} // closed when result is final

	mu     sync.Mutex
	events []factory.Event
	lines  []string
	told   []string
	news   chan struct{} // closed and replaced with every event
	result result
}

// launch starts a program whose stderr are events and lines.
func launch(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, args: cmd.Args[1:], began: time.Now(), done: make(chan struct{}), news: make(chan struct{})}
	cmd.Stdout = &p.stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	go p.read(stderr)
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			p.within(t, 30*time.Second)
		}
	})
	return p
}

func (p *process) read(stderr io.Reader) {
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\n"); line != "" {
			p.note(line)
		}
		if err != nil {
			break
		}
	}
	_ = p.cmd.Wait()
	p.mu.Lock()
	exit := p.cmd.ProcessState.ExitCode()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit = 128 + int(status.Signal())
	}
	p.result = result{Exit: exit, Stdout: p.stdout.String(), Lines: p.lines, Told: p.told, Events: p.events, Took: time.Since(p.began)}
	close(p.news)
	p.news = make(chan struct{})
	p.mu.Unlock()
	close(p.done)
}

func (p *process) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var e factory.Event
	if strings.HasPrefix(line, `{"time"`) && json.Unmarshal([]byte(line), &e) == nil {
		p.events = append(p.events, e)
		if e.Image == "" && e.Step == "" && e.Kind != factory.Advanced {
			p.told = append(p.told, e.Message)
		}
	} else {
		p.lines, p.told = append(p.lines, line), append(p.told, line)
	}
	close(p.news)
	p.news = make(chan struct{})
}

// await returns when an event fits. It is an error of the story when the program ends before.
func (p *process) await(t testing.TB, what string, match func(factory.Event) bool) {
	t.Helper()
	stuck := time.NewTimer(patience)
	defer stuck.Stop()
	for seen := 0; ; {
		p.mu.Lock()
		fresh, news := p.events[seen:], p.news
		seen = len(p.events)
		p.mu.Unlock()
		if slices.ContainsFunc(fresh, match) {
			return
		}
		select {
		case <-news:
		case <-p.done:
			if slices.ContainsFunc(p.result.Events, match) {
				return
			}
			t.Fatalf("factory %v ended (%d) before %s:\n%s", p.args, p.result.Exit, what, p.result.said())
		case <-stuck.C:
			t.Fatalf("factory %v: no %s in %s", p.args, what, patience)
		}
	}
}

// wait returns how the program ended.
func (p *process) wait(t testing.TB) result {
	t.Helper()
	return p.within(t, patience)
}

func (p *process) within(t testing.TB, limit time.Duration) result {
	t.Helper()
	stuck := time.NewTimer(limit)
	defer stuck.Stop()
	select {
	case <-p.done:
	case <-stuck.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // shows where it hangs
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		t.Fatalf("factory %v did not end in %s:\n%s", p.args, limit, p.result.said())
	}
	return p.result
}

// child is the process of such a name that the program has started.
func (p *process) child(t testing.TB, name string) (pid int) {
	t.Helper()
	eventually(t, name+" to run", time.Minute, func() bool {
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		must(t, err)
		for _, file := range all {
			b, _ := os.ReadFile(file) // 12 (name) S 1 ...
			var parent int
			if _, err := fmt.Sscanf(string(b), "%d ("+name+") %1s %d", &pid, new(string), &parent); err == nil && parent == p.cmd.Process.Pid {
				return true
			}
		}
		return false
	})
	return pid
}

// signal sends a signal to the program alone, not to what it started.
func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	must(t, p.cmd.Process.Signal(s))
}

// began matches the beginning of a step of an image.
func began(image string, step factory.StepName) func(factory.Event) bool {
	return func(e factory.Event) bool { return e.Kind == factory.Began && e.Image == image && e.Step == step }
}
