package upstream

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

const childEnv = "FACTORY_TEST_TOOLBOX_CHILD"

// errand is what the child process shall make.
type errand struct {
	Dir, Scratch string
	Archives     map[string]string
	Image        factory.Image
	Lock         factory.Lock
}

// TestToolboxChild is the process that TestToolboxKilled kills.
func TestToolboxChild(t *testing.T) {
	b, err := os.ReadFile(os.Getenv(childEnv))
	if err != nil {
		t.Skip("only as a child of TestToolboxKilled")
	}
	var e errand
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	tb := Toolbox{Dir: e.Dir, Scratch: e.Scratch, Archives: e.Archives, Events: func(e factory.Event) { fmt.Println(e.Message) }}
	_, _, err = tb.Ensure(t.Context(), e.Image, e.Lock)
	t.Error("nobody killed this process:", err)
}

func TestToolboxKilled(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	tb, img, lock := toolbox(t, a)
	tb.Scratch, tb.HTTP = t.TempDir(), nil
	e, err := json.Marshal(errand{tb.Dir, tb.Scratch, tb.Archives, img, lock})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "errand")
	write(t, file, e)
	for _, when := range []string{"extracting archives", "installing remaining packages", "packing the toolbox"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestToolboxChild$")
		cmd.Env = append(os.Environ(), childEnv+"="+file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reached := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), when) {
				reached = true
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); !reached || err == nil {
			t.Fatalf("%s: reached %v, %v", when, reached, err)
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounts), tb.Scratch) {
			t.Fatalf("%s: mounts were left: %v", when, err)
		}
		if key, err := tb.key(img, lock); err != nil {
			t.Error(err)
		} else if _, err := readLayout(filepath.Join(tb.Dir, key)); err == nil {
			t.Errorf("%s: an unfinished toolbox counts as whole", when)
		}
	}
	if _, _, err := tb.Ensure(t.Context(), img, lock); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(tb.Scratch); len(left) != 0 {
		t.Errorf("left in scratch: %v", left)
	}
}
