package system_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// plant is one installation of the factory: a repository, a state directory and the flags that it is run with.
type plant struct {
	Dir, State, Addr string
	Flags            []string
	Env              []string
}

// shared is what every story starts from: a fresh clone, with the toolbox made, before its first night. FACTORY_TEST_RELEASED names
// the folder shared of a run with FACTORY_TEST_KEEP=1: whoever writes a story need not wait for another first night.
var shared = sync.OnceValues(func() (plant, error) {
	if kept := os.Getenv("FACTORY_TEST_RELEASED"); kept != "" {
		addr, err := os.ReadFile(filepath.Join(kept, "addr"))
		return plant{Dir: filepath.Join(kept, "repo"), State: filepath.Join(kept, "state"), Addr: string(addr)}, err
	}
	p := plant{Dir: filepath.Join(scratch, "shared", "repo"), State: filepath.Join(scratch, "shared", "state")}
	if err := cmp.Or(os.MkdirAll(p.State, 0o700), copyRepository(p.Dir, slices.Concat(families, children)...)); err != nil {
		return p, err
	}
	if cache := os.Getenv("FACTORY_TEST_TOOLBOX"); cache != "" {
		if out, err := exec.Command("cp", "-al", cache, filepath.Join(p.State, "toolbox")).CombinedOutput(); err != nil {
			return p, fmt.Errorf("FACTORY_TEST_TOOLBOX: %w: %s", err, out)
		}
	}
	addr, err := freeAddr()
	p.Addr = addr
	return p, cmp.Or(err, os.WriteFile(filepath.Join(scratch, "shared", "addr"), []byte(addr), 0o644))
})

// copyRepository is git clone of what the factory reads, with whatever is not committed yet, and without some images.
func copyRepository(dir string, without ...string) error {
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "baseimages", "ansible", "CODEOWNERS")
	list.Dir = root()
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the repository: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root(), name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := cmp.Or(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, 0o644)); err != nil {
			return err
		}
	}
	if err := drop(dir, without...); err != nil {
		return err
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"commit", "-q", "-m", "base images"}} {
		if _, err := git(dir, args...); err != nil {
			return err
		}
	}
	return nil
}

// families are the images whose archives only stand-ins are reached of; see standin_test.go.
var families = []string{"amazonlinux-2", "amazonlinux-2023", "rhel-9"}

// children are the images that are built on others; see children_test.go.
var children = []string{"debian-12-python", "debian-12-static"}

// drop takes images out of a repository, and out of the lists of who owns them.
func drop(dir string, names ...string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, "baseimages", name)))
		for _, file := range []string{"baseimages/owners.yaml", "CODEOWNERS"} {
			b, err := os.ReadFile(filepath.Join(dir, file))
			lines := slices.DeleteFunc(strings.Split(string(b), "\n"), func(l string) bool {
				return strings.HasPrefix(l, "  "+name+":") || strings.HasPrefix(l, "/baseimages/"+name+"/")
			})
			errs = append(errs, err, os.WriteFile(filepath.Join(dir, file), []byte(strings.Join(lines, "\n")), 0o644))
		}
	}
	return errors.Join(errs...)
}

// git runs git as somebody, whatever this machine's configuration says.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=A. Person", "GIT_AUTHOR_EMAIL=person@example.com",
		"GIT_COMMITTER_NAME=A. Person", "GIT_COMMITTER_EMAIL=person@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %v: %w: %s", args, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// newPlant is an installation of its own: its own repository (as committed in the shared one), registry, database and keys.
// Toolbox and build cache are the shared ones.
func newPlant(t *testing.T) plant {
	t.Helper()
	from := released(t)
	dir := t.TempDir()
	p := plant{Dir: filepath.Join(dir, "repo"), State: filepath.Join(dir, "state")}
	gitIn(t, dir, "clone", "-q", from.Dir, p.Dir)
	must(t, os.MkdirAll(p.State, 0o700))
	for _, part := range []string{"toolbox", "buildkit"} {
		must(t, os.Symlink(filepath.Join(from.State, part), filepath.Join(p.State, part)))
	}
	for _, part := range []string{"archives", "vulnerabilities"} {
		out, err := exec.Command("cp", "-a", filepath.Join(from.State, part), filepath.Join(p.State, part)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	var err error
	p.Addr, err = freeAddr()
	must(t, err)
	return p
}

// again is the shared installation as its first night left it, once more: the same releases at the same address, and nothing
// that is done here is done there. Toolbox and build cache are the shared ones. It takes seconds.
func again(t *testing.T) plant {
	t.Helper()
	from := released(t)
	dir := t.TempDir()
	p := plant{Dir: filepath.Join(dir, "repo"), State: filepath.Join(dir, "state"), Addr: from.Addr}
	must(t, os.Mkdir(p.State, 0o700))
	copied := [][2]string{{from.Dir, p.Dir}}
	for _, part := range []string{"archives", "vulnerabilities", "keys", "registry", "factory.db"} {
		copied = append(copied, [2]string{filepath.Join(from.State, part), filepath.Join(p.State, part)})
	}
	for _, c := range copied {
		if out, err := exec.Command("cp", "-a", c[0], c[1]).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, part := range []string{"toolbox", "buildkit"} {
		must(t, os.Symlink(filepath.Join(from.State, part), filepath.Join(p.State, part)))
	}
	return p
}

func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := git(dir, args...)
	must(t, err)
	return out
}

// command is the driver with its arguments.
func (p plant) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := driver()
	must(t, err)
	cmd := exec.Command(bin, append(args, p.Flags...)...)
	cmd.Dir = p.Dir
	cmd.Env = append(os.Environ(), "FACTORY_STATE="+p.State, "FACTORY_REGISTRY_ADDR="+p.Addr, "FACTORY_PROGRESS=json", "FACTORY_VULNERABILITIES=archive", "GIT_CONFIG_GLOBAL=/dev/null")
	cmd.Env = append(cmd.Env, p.Env...)
	return cmd
}

// start starts the driver.
func (p plant) start(t testing.TB, args ...string) *process {
	t.Helper()
	return launch(t, p.command(t, args...))
}

// run runs the driver to its end.
func (p plant) run(t testing.TB, args ...string) result {
	t.Helper()
	return p.start(t, args...).wait(t)
}

// ok runs the driver, which must exit 0.
func (p plant) ok(t testing.TB, args ...string) result {
	t.Helper()
	return p.exits(t, 0, args...)
}

// exits runs the driver, which must exit so.
func (p plant) exits(t testing.TB, want int, args ...string) result {
	t.Helper()
	r := p.run(t, args...)
	if r.Exit != want {
		t.Fatalf("factory %v: exit %d, want %d\n%s\n%s", args, r.Exit, want, r.Stdout, r.said())
	}
	t.Logf("factory %s: exit %d in %.1f s: %s", strings.Join(args, " "), r.Exit, r.Took.Seconds(), r.last())
	return r
}

// json runs the driver with --json and decodes its only document.
func (p plant) json(t testing.TB, into any, args ...string) {
	t.Helper()
	decode(t, p.ok(t, append(args, "--json")...), into)
}

func decode(t testing.TB, r result, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewBufferString(r.Stdout))
	if err := dec.Decode(into); err != nil || dec.More() {
		t.Fatalf("stdout is not one JSON document: %v\n%s", err, r.Stdout)
	}
}

// night is what nightly and build print with --json.
type night struct {
	Run     string           `json:"run"`
	State   factory.RunState `json:"state"`
	Verdict string           `json:"verdict"`
	Jobs    []factory.RunJob `json:"jobs"`
}

func (n night) job(t testing.TB, image string) factory.RunJob {
	t.Helper()
	for _, j := range n.Jobs {
		if j.Image == image {
			return j
		}
	}
	t.Fatalf("no job for %s in %+v", image, n)
	return factory.RunJob{}
}

// kept reports whether a night left an image as it is; it may have looked it up in newer vulnerability data.
func kept(j factory.RunJob) bool {
	return (j.Action == factory.Keep || j.Action == factory.Rescan) && j.Ref == "" && j.Error == ""
}

// nightOf reads the night that a run printed.
func nightOf(t testing.TB, r result) (n night) {
	t.Helper()
	decode(t, r, &n)
	return n
}

// edit changes a file of the repository: old must be there once.
func (p plant) edit(t testing.TB, name, old, changed string) {
	t.Helper()
	path := filepath.Join(p.Dir, name)
	b, err := os.ReadFile(path)
	must(t, err)
	if strings.Count(string(b), old) != 1 {
		t.Fatalf("%s has %q %d times", name, old, strings.Count(string(b), old))
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(b), old, changed, 1)), 0o644))
}

// daemons are the processes of the factory's own buildkitd on this state directory.
func (p plant) daemons(t testing.TB) (pids []string) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, f := range found {
		b, err := os.ReadFile(f)
		if err == nil && bytes.Contains(b, []byte("buildkitd\x00--root\x00"+filepath.Join(p.State, "buildkit"))) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

// noDaemon waits until no buildkitd of this installation runs.
func (p plant) noDaemon(t testing.TB) {
	t.Helper()
	eventually(t, "buildkitd to end", 40*time.Second, func() bool { return len(p.daemons(t)) == 0 })
}

// eventually waits for a condition that nobody announces.
func eventually(t testing.TB, what string, limit time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s for %s", limit, what)
		}
	}
}
