package proc_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory/proc"
)

// TestMain lets the test binary be the program that is run: PROGRAM says which.
func TestMain(m *testing.M) {
	if program, ok := programs[os.Getenv("PROGRAM")]; ok {
		program()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var programs = map[string]func(){
	"echo": func() {
		fmt.Print(strings.Join(os.Args[1:], "|"))
		fmt.Fprint(os.Stderr, "on stderr\n")
	},
	"env": func() { fmt.Print(os.Getenv("A"), ",", os.Getenv("B")) },
	"cat": func() { _, _ = io.Copy(os.Stdout, os.Stdin) },
	"fail": func() {
		fmt.Fprint(os.Stderr, "first\n\x1b[31msecond\x1b[0m\n\nthird\nfourth is s3cret\n")
		os.Exit(7)
	},
	"flood": func() {
		for i := range 2000 {
			fmt.Fprintf(os.Stderr, "line %d\n", i)
		}
		os.Exit(1)
	},
	"polite": func() {
		term := onSignal(syscall.SIGTERM)
		fmt.Println("ready")
		<-term
	},
	"stubborn": func() {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		<-onSignal(syscall.SIGUSR2)
	},
	// parent starts a stubborn child in its own group and prints the child's id.
	"parent": func() {
		term := onSignal(syscall.SIGTERM)
		fmt.Println(startChild("stubborn", nil))
		<-term
	},
	"leaver": func() { fmt.Println(startChild("stubborn", os.Stdout)) },
	// factory runs a daemon through this package, tells its id and waits to be killed.
	"factory": func() {
		p, err := proc.Command{Args: []string{os.Args[0]}, Set: []string{"PROGRAM=stubborn"}}.Start(context.Background())
		if err != nil {
			os.Exit(3)
		}
		fmt.Println(p.PID())
		<-onSignal(syscall.SIGUSR2)
	},
}

func onSignal(s os.Signal) <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, s)
	return c
}

func startChild(program string, stdout *os.File) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PROGRAM="+program)
	if stdout != nil {
		cmd.Stdout = stdout
		if err := cmd.Start(); err != nil {
			os.Exit(3)
		}
		return cmd.Process.Pid
	}
	ready, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		os.Exit(3)
	}
	_, _ = bufio.NewReader(ready).ReadString('\n')
	return cmd.Process.Pid
}

func program(name string, args ...string) proc.Command {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return proc.Command{Args: append([]string{self}, args...), Set: []string{"PROGRAM=" + name}}
}

// lines gives a Writer and the lines that arrive there.
func lines(t *testing.T) (io.Writer, *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, bufio.NewReader(r)
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// gone waits until no process has this id; zombies of a dead parent are reaped by init.
func gone(t *testing.T, pid int) {
	t.Helper()
	for tries := range 5000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) || bytes.Contains(stat, []byte(") X ")) {
			return
		}
		if tries > 0 {
			_, _ = syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 2000})
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Fatalf("process %d is still there", pid)
}
