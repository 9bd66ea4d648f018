package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// ExitError is a program that ran and did not exit 0, or was stopped because a context ended.
type ExitError struct {
	Name string // of the program, without its folder
	Result
	Cause error // why the factory stopped it; nil = it ended by itself
}

// Error returns "name: exit 1: last lines of stderr", or "name: stopped: what was waited for: last lines".
func (e *ExitError) Error() string {
	var how string
	switch {
	case e.Cause != nil:
		how = "stopped: " + e.Cause.Error()
	case e.Signal != "":
		how = "died: " + e.Signal
	default:
		how = fmt.Sprintf("exit %d", e.Exit)
	}
	if last := lastLines(e.Tail, 3); last != "" {
		how += ": " + last
	}
	return e.Name + ": " + how
}

// Unwrap returns Cause.
func (e *ExitError) Unwrap() error { return e.Cause }

func lastLines(tail string, n int) string {
	var lines []string
	for line := range strings.Lines(tail) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// debian names the package of programs whose package has another name.
var debian = map[string]string{
	"ssh":                 "openssh-client",
	"newuidmap":           "uidmap",
	"qemu-aarch64-static": "qemu-user-static",
	"python3":             "python3-minimal",
	"psql":                "postgresql-client",
	"unsquashfs":          "squashfs-tools",
}

func (c Command) notStarted(err error) error {
	if c.Dir != "" {
		if info, statErr := os.Stat(c.Dir); statErr != nil || !info.IsDir() {
			return &factory.Problem{Kind: factory.ErrNotFound, What: c.name() + ": no folder " + c.Dir + " to run in"}
		}
	}
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		pkg := c.name()
		if other, ok := debian[pkg]; ok {
			pkg = other
		}
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "the program " + c.Args[0] + " is not installed",
			Hint: "on Debian: apt-get install " + pkg}
	case errors.Is(err, fs.ErrPermission):
		return &factory.Problem{Kind: factory.ErrUnavailable, What: c.Args[0] + " may not be executed", Cause: err}
	}
	return fmt.Errorf("%s: %w", c.name(), err)
}
