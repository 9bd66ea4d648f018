package factorytest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Chroot runs steps that run a Python script (factory.ToolboxPython) in a folder of this machine instead of the build service:
// as root, with a process table of their own, with this machine's python3 in place of the toolbox's. Of a Step it knows
// Args, Env, Files, Output and User "". The script may use the modules named in preload. Make it with NewChroot.
type Chroot struct {
	Dir string // the root filesystem; what steps change stays changed
}

// NewChroot skips the test where there is no python3 or no right to change the root.
func NewChroot(t testing.TB, dir string) Chroot {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to change the root folder")
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	c := Chroot{Dir: dir}
	cmd := c.command(t.Context(), nil)
	if err := cmd.Run(); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EPERM) {
		t.Skip("needs the right to make a process namespace")
	}
	return c
}

// preload loads what the script imports while this machine's files can still be seen, then enters the folder and runs it.
const preload = `
import base64, json, os, selectors, shutil, signal, sqlite3, stat, struct, subprocess, sys, threading, time
os.chroot(sys.argv[1])
os.chdir("/")
sys.argv = sys.argv[2:]
if sys.argv:
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    with open(sys.argv[0]) as f:
        script = compile(f.read(), sys.argv[0], "exec")
    exec(script, {"__name__": "__main__"})
`

func (c Chroot) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "python3", append([]string{"-s", "-c", preload, c.Dir}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run runs the step's script. An exit other than 0 is not an error.
func (c Chroot) Run(ctx context.Context, step factory.Step) (factory.StepResult, error) {
	i := slices.Index(step.Args, "-s")
	if i < 0 || step.User != "" {
		return factory.StepResult{}, errors.New("chroot: the step does not run a script with the toolbox's Python as root")
	}
	remove, err := c.place(step)
	defer remove()
	if err != nil {
		return factory.StepResult{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd := c.command(ctx, step.Args[i+1:])
	cmd.Env = append(os.Environ(), step.Env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	result := factory.StepResult{Root: step.Root, Output: map[string][]byte{}}
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return factory.StepResult{}, err
	}
	if ctx.Err() != nil {
		return factory.StepResult{}, context.Cause(ctx)
	}
	result.Exit, result.Stdout, result.Stderr = cmd.ProcessState.ExitCode(), stdout.Bytes(), stderr.Bytes()
	return result, c.collect(step.Output, result.Output)
}

// place puts the step's files and its output folder into the root and returns what takes them away again.
func (c Chroot) place(step factory.Step) (remove func(), err error) {
	var added []string
	remove = func() {
		for _, p := range added {
			_ = os.RemoveAll(filepath.Join(c.Dir, p))
		}
	}
	for path, f := range step.Files {
		top, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		added = append(added, top)
		full := filepath.Join(c.Dir, path)
		mode := fs.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return remove, err
		}
		if err := os.WriteFile(full, f.Data, mode); err != nil {
			return remove, err
		}
	}
	if step.Output != "" {
		added = append(added, step.Output)
		return remove, os.MkdirAll(filepath.Join(c.Dir, step.Output), 0o755)
	}
	return remove, nil
}

func (c Chroot) collect(folder string, into map[string][]byte) error {
	if folder == "" {
		return nil
	}
	root, err := os.OpenRoot(filepath.Join(c.Dir, folder))
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		into[path], err = root.ReadFile(path)
		return err
	})
}
