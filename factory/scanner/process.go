package scanner

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// lingering is how long something that the scanner started may hold its pipes after it has ended.
const lingering = time.Second

// process is a scanner that runs.
type process struct {
	cmd           *exec.Cmd
	stdin, stdout *os.File // our ends
	stderr        lastWords
	temp          string
	tempLock      *os.File
	exited        chan struct{} // closed when it was reaped
}

// launch starts the program, with a network of its own that leads nowhere or without.
func (c *Client) launch(isolated bool) (*process, error) {
	program, err := exec.LookPath(c.Program)
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return nil, c.notStarted(err)
	}
	p := &process{exited: make(chan struct{})}
	if p.temp, p.tempLock, err = tempDir(c.Temp); err != nil {
		return nil, c.notStarted(err)
	}
	if err := p.start(program, isolated); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.temp), p.tempLock.Close())
	}
	return p, nil
}

func (p *process) start(program string, isolated bool) error {
	requests, stdin, err := os.Pipe()
	if err != nil {
		return err
	}
	defer requests.Close()
	stdout, replies, err := os.Pipe()
	if err != nil {
		return errors.Join(err, stdin.Close())
	}
	defer replies.Close()
	p.stdin, p.stdout = stdin, stdout

	p.cmd = exec.Command(program, "serve")
	p.cmd.Dir, p.cmd.Env = p.temp, []string{"TMPDIR=" + p.temp}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = requests, replies, &p.stderr
	p.cmd.WaitDelay = lingering
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if isolated {
		p.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return errors.Join(err, stdin.Close(), stdout.Close())
	}
	return nil
}

// run forks, and keeps its thread until the program has ended: the kernel sends the death signal when the forking
// thread ends, not when the factory does.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	awaitExit(p.cmd.Process.Pid)
	// What it left behind goes with it, while its id still names the group.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	time.AfterFunc(lingering, func() { p.stdout.Close() })
	_ = p.cmd.Wait() // ProcessState says how it ended
	close(p.exited)
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

// kill ends the program at once.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// buried waits until the program was reaped, and returns how it ended.
func (p *process) buried() string {
	<-p.exited
	_, _ = p.stdin.Close(), p.stdout.Close()
	_ = os.RemoveAll(p.temp) // what is left of it, the next scanner removes
	_ = p.tempLock.Close()
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return "died: " + status.Signal().String()
	}
	return fmt.Sprintf("ended: exit %d", status.ExitStatus())
}

func (c *Client) notStarted(err error) error {
	p := &factory.Problem{Kind: factory.ErrUnavailable, What: "scanner " + cmp.Or(c.Program, "(no program named)"), Cause: err}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		p.Hint = "make build puts factory-scanner beside factory"
	}
	return p
}
