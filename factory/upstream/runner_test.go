package upstream

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestHost(t *testing.T) {
	t.Parallel()
	h := Host{Dir: t.TempDir(), Env: []string{"PROXY=p"}}
	res, err := h.Run(t.Context(), factory.Step{
		Name:  "try",
		Args:  []string{"/bin/sh", "/.in/go.sh", "/.in/data", "/.out", "/.work", "/etc/passwd"},
		Files: map[string]factory.File{"/.in/go.sh": {Mode: 0o700, Data: []byte(`cat "$1"; echo "$4 $PROXY $STEP $HOSTNAME" >&2; mkdir "$2/sub"; touch "$3/x"; cp "$1" "$2/sub/copy"; ln -s copy "$2/sub/link"; [ -x "$0" ] && exit 3`)}, "/.in/data": {Data: []byte("data")}},
		Env:   []string{"STEP=s"}, Output: "/.out", Tmpfs: []string{"/.work"},
	})
	if err != nil || res.Exit != 3 || string(res.Stdout) != "data" || string(res.Stderr) != "/etc/passwd p s \n" {
		t.Errorf("%+v %v", res, err)
	}
	if len(res.Output) != 1 || string(res.Output["sub/copy"]) != "data" {
		t.Errorf("output %q", res.Output)
	}
	if left, _ := os.ReadDir(h.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The factory's own environment may hold the signing password.
func TestHostHidesTheEnvironment(t *testing.T) {
	t.Setenv("FACTORY_PASSWORD", "hunter2")
	t.Setenv("https_proxy", "http://proxy.invalid")
	h := Host{Dir: t.TempDir(), Env: Proxies(os.Environ())}
	res, err := h.Run(t.Context(), factory.Step{Name: "try", Args: []string{"env"}})
	if err != nil || strings.Contains(string(res.Stdout), "hunter2") {
		t.Errorf("%v: %s", err, res.Stdout)
	}
	for line := range strings.Lines(string(res.Stdout)) {
		name, _, _ := strings.Cut(line, "=")
		if !slices.Contains([]string{"PATH", "LC_ALL", "HOME", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}, strings.ToUpper(name)) {
			t.Errorf("a program sees %s", line)
		}
	}
	if !strings.Contains(string(res.Stdout), "https_proxy=http://proxy.invalid\n") {
		t.Errorf("no proxy in %s", res.Stdout)
	}
}

func TestHostRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]factory.Step{
		"no command": {},
		"root":       {Args: []string{"true"}, Root: factory.Root{State: []byte("x")}},
		"toolbox":    {Args: []string{"true"}, Toolbox: true},
		"user":       {Args: []string{"true"}, User: "1"},
	} {
		if _, err := (Host{}).Run(t.Context(), s); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := Host{Dir: t.TempDir()}
	if _, err := h.Run(t.Context(), factory.Step{Args: []string{"true"}, Files: map[string]factory.File{"/../x": {}}}); err == nil || !strings.Contains(err.Error(), "not an absolute path") {
		t.Error(err)
	}
	if _, err := h.Run(t.Context(), factory.Step{Args: []string{"/no/such/program"}}); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
	if _, err := (Host{Dir: filepath.Join(h.Dir, "no")}).Run(t.Context(), factory.Step{Args: []string{"true"}}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Run(ctx, factory.Step{Name: "try", Args: []string{"sleep", "60"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
