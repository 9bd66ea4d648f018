package factorytest_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/factorytest"
)

func TestClock(t *testing.T) {
	t.Parallel()
	var c factorytest.Clock
	before := c.Now()
	c.Move(time.Hour)
	after := c.Now()
	if got := after.Sub(before); got != time.Hour || c.Now() != after {
		t.Errorf("moved %v", got)
	}
}

// It loses nothing of what several write at a time, while one reads.
func TestOutput(t *testing.T) {
	t.Parallel()
	var o factorytest.Output
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				_, _ = o.Write([]byte("x"))
				_ = o.String()
			}
		})
	}
	all.Wait()
	if got := len(o.String()); got != 400 {
		t.Errorf("%d bytes", got)
	}
	if o.Reset(); o.String() != "" {
		t.Errorf("after a reset: %q", &o)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	var r factorytest.Recorder
	r.Events().Emit(factory.Event{Kind: factory.Noted, Message: "a"})
	r.Events().Emit(factory.Event{Kind: factory.Warned, Message: "b"})
	if got := r.Messages(factory.Warned); len(got) != 1 || got[0] != "b" || len(r.All()) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestChroot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := factorytest.NewChroot(t, dir)
	script := `
import os, sys
print(os.getpid(), os.environ["A"], sorted(os.listdir("/")))
with open("/.out/deep/x", "w") if os.makedirs("/.out/deep") is None else None as f: f.write(sys.argv[1])
with open("/stays", "w") as f: f.write("1")
os.symlink("/etc/passwd", "/.out/link")
sys.exit(3)
`
	step := factory.Step{
		Args: factory.ToolboxPython("/.play/s.py", "argument"), Env: []string{"A=b"}, Output: "/.out",
		Files: map[string]factory.File{"/.play/s.py": {Data: []byte(script)}},
	}
	res, err := c.Run(t.Context(), step)
	if err != nil || res.Exit != 3 || string(res.Stdout) != "1 b ['.out', '.play']\n" || len(res.Output) != 1 || string(res.Output["deep/x"]) != "argument" {
		t.Errorf("%d %s%s %v, %v", res.Exit, res.Stdout, res.Stderr, res.Output, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "stays" {
		t.Errorf("left %v, %v", left, err)
	}
	if hidden, _ := os.ReadDir(dir); len(hidden) != 1 {
		t.Errorf("left %v", hidden)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx, step); err == nil {
		t.Error("want the context's error")
	}
	if _, err := c.Run(t.Context(), factory.Step{Args: []string{"/bin/true"}}); err == nil {
		t.Error("want a refusal of what is no script")
	}
}
