package proc_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
)

func TestRunPassesArgumentsUntouched(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	c := program("echo", "a b", "$(id)", "; rm -rf /", "--", "*")
	c.Stdout, c.Stderr = &stdout, &stderr
	res, err := c.Run(t.Context())
	if err != nil || res.Exit != 0 || res.Tail != "on stderr\n" {
		t.Fatalf("%+v, %v", res, err)
	}
	if got := stdout.String(); got != "a b|$(id)|; rm -rf /|--|*" {
		t.Errorf("stdout %q", got)
	}
	if got := stderr.String(); got != "on stderr\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestOneWriterForBoth(t *testing.T) {
	t.Parallel()
	var both bytes.Buffer
	c := program("echo", "out")
	c.Stdout, c.Stderr = &both, &both
	if _, err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := both.String(); len(got) != len("outon stderr\n") {
		t.Errorf("got %q", got)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env, set []string
		want     string
	}{
		"whole":  {[]string{"A=1", "B=2", "PROGRAM=env"}, nil, "1,2"},
		"set":    {[]string{"A=1", "PROGRAM=env"}, []string{"A=3", "B=x=y"}, "3,x=y"},
		"remove": {[]string{"A=1", "AB=1", "B=2", "PROGRAM=env"}, []string{"A"}, ",2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			c := program("env")
			c.Env, c.Set, c.Stdout = tc.env, tc.set, &out
			if _, err := c.Run(t.Context()); err != nil || out.String() != tc.want {
				t.Errorf("got %q, %v; want %q", out.String(), err, tc.want)
			}
		})
	}
}

func TestStdinAndDir(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := program("cat")
	c.Stdin, c.Stdout, c.Dir = strings.NewReader("hello"), &out, t.TempDir()
	if _, err := c.Run(t.Context()); err != nil || out.String() != "hello" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestExitError(t *testing.T) {
	t.Parallel()
	c := program("fail")
	c.Redact = []string{"", "s3cret"}
	res, err := c.Run(t.Context())
	var exit *proc.ExitError
	if !errors.As(err, &exit) || exit.Exit != 7 || res.Exit != 7 {
		t.Fatalf("%+v, %v", res, err)
	}
	want := filepath.Base(c.Args[0]) + ": exit 7: [31msecond[0m; third; fourth is ***"
	if err.Error() != want {
		t.Errorf("got  %q\nwant %q", err, want)
	}
	if !strings.HasPrefix(res.Tail, "first\n") {
		t.Errorf("tail %q", res.Tail)
	}
}

func TestTailIsBounded(t *testing.T) {
	t.Parallel()
	res, err := program("flood").Run(t.Context())
	if err == nil || len(res.Tail) > 4096 || !strings.HasSuffix(res.Tail, "line 1999\n") || !strings.HasPrefix(res.Tail, "line ") {
		t.Errorf("%d bytes %.40q, %v", len(res.Tail), res.Tail, err)
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	notExecutable := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(notExecutable, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	noDir := program("echo")
	noDir.Dir = filepath.Join(t.TempDir(), "absent")
	for name, tc := range map[string]struct {
		c    proc.Command
		kind error
		says string
	}{
		"no program": {proc.Command{}, factory.ErrInvalid, "without a program"},
		"NUL":        {proc.Command{Args: []string{"echo", "a\x00b"}}, factory.ErrInvalid, "NUL"},
		"missing":    {proc.Command{Args: []string{"no-such-program"}}, factory.ErrUnavailable, "apt-get install no-such-program"},
		"renamed":    {proc.Command{Args: []string{"/nowhere/ssh"}}, factory.ErrUnavailable, "apt-get install openssh-client"},
		"mode":       {proc.Command{Args: []string{notExecutable}}, factory.ErrUnavailable, "may not be executed"},
		"no folder":  {noDir, factory.ErrNotFound, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tc.c.Run(t.Context())
			if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestForeignFormat(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(path, []byte("\x7fnonsense"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := (proc.Command{Args: []string{path}}).Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "garbage: ") {
		t.Errorf("got %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriterThatFails(t *testing.T) {
	t.Parallel()
	c := program("echo", "x")
	c.Args = append(c.Args[:1], slices.Repeat([]string{strings.Repeat("x", 1<<10)}, 500)...)
	c.Stdout = full{}
	res, err := c.Run(t.Context())
	if err == nil || !strings.HasSuffix(err.Error(), "disk full") || res.Tail != "on stderr\n" {
		t.Errorf("%+v, %v", res, err)
	}
}
