package system_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/ansible"
	"github.com/imagefactory/imagefactory/factory/buildkit"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// keeping is a runner that remembers what the last step made of its root.
type keeping struct {
	ansible.Runner
	after factory.Root
}

func (k *keeping) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	res, err := k.Runner.Run(ctx, s)
	k.after = res.Root
	return res, err
}

// sending is a runner that leaves the module to Ansible alone, which sends it to a process of its own for every task.
type sending struct{ ansible.Runner }

func (r sending) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	maps.DeleteFunc(s.Files, func(name string, _ factory.File) bool {
		return path.Base(name) == "cis_controls.py" && path.Base(path.Dir(name)) == "action"
	})
	return r.Runner.Run(ctx, s)
}

// Hardening twice changes nothing more than hardening once, and looking changes nothing at all.
func TestHardeningIsIdempotent(t *testing.T) {
	p := released(t)
	bin, err := driver()
	must(t, err)
	archives, err := upstream.HostArchives(os.DirFS("/"))
	must(t, err)
	ids := 0
	bk := &buildkit.Client{Archives: archives, Nonce: func() string { ids++; return fmt.Sprint(t.Name(), ids) },
		Daemon: &buildkit.Daemon{Beside: filepath.Dir(bin), Dir: filepath.Join(p.State, "buildkit")}}
	t.Cleanup(func() { must(t, bk.Close()) })
	box := imageOf(t, p, "toolbox")
	lock, _, err := definition.ReadLock(p.Dir, "toolbox")
	must(t, err)
	layout, digest, err := upstream.Toolbox{Dir: filepath.Join(p.State, "toolbox"), Archives: archives}.Ensure(t.Context(), box, lock)
	must(t, err)
	must(t, bk.UseToolbox(layout, digest))

	for _, image := range images[1:] { // the play is the same for both, and takes its time
		t.Run(image, func(t *testing.T) {
			runner := &keeping{Runner: bk}
			look, harden := ansible.Hardener{Runner: runner, Now: now, Check: true}, ansible.Hardener{Runner: runner, Now: now}
			lock, _, err := definition.ReadLock(p.Dir, image)
			must(t, err)
			inputs, _, err := definition.Pack(p.Dir, imageOf(t, p, image))
			must(t, err)
			built, err := bk.Build(t.Context(), factory.Locked{Job: factory.Job{Image: imageOf(t, p, image)}, Lock: lock, Inputs: inputs})
			must(t, err)

			looked, err := look.Harden(t.Context(), built)
			must(t, err)
			if n := count(looked.Controls, factory.Applied); n < 20 {
				t.Errorf("--check would apply %d controls", n)
			}
			before := listing(t, bk, built.Roots[0])
			if d := differences(before, listing(t, bk, runner.after)); len(d) != 0 {
				t.Errorf("--check changed %q", d)
			}
			sent, err := ansible.Hardener{Runner: sending{bk}, Now: now, Check: true}.Harden(t.Context(), built)
			must(t, err)
			if !reflect.DeepEqual(sent.Controls, looked.Controls) {
				t.Errorf("in a process of its own the module says\n%+v\nnot\n%+v", sent.Controls, looked.Controls)
			}
			hardened, err := harden.Harden(t.Context(), built)
			must(t, err)
			if a, b := count(hardened.Controls, factory.Applied), count(looked.Controls, factory.Applied); a != b {
				t.Errorf("%d controls were applied, --check announced %d", a, b)
			}
			once := listing(t, bk, hardened.Roots[0])
			if d := differences(before, once); len(d) == 0 {
				t.Error("hardening changed nothing")
			}
			again, err := harden.Harden(t.Context(), factory.Built{Locked: hardened.Locked, Roots: hardened.Roots})
			must(t, err)
			if n := count(again.Controls, factory.Applied); n != 0 {
				t.Errorf("the second time %d controls were applied: %+v", n, again.Controls)
			}
			if d := differences(once, listing(t, bk, again.Roots[0])); len(d) != 0 {
				t.Errorf("the second time changed %q", d)
			}
		})
	}
}

func count(controls []factory.ControlOutcome, want factory.Outcome) (n int) {
	for _, c := range controls {
		if c.Outcome == want {
			n++
		}
	}
	return n
}

// listing is every file of a root with its content and attributes, as text by path.
func listing(t testing.TB, bk *buildkit.Client, root factory.Root) map[string]string {
	t.Helper()
	r, w := io.Pipe()
	go func() { w.CloseWithError(bk.Export(t.Context(), root, w)) }()
	files := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		b, err := io.ReadAll(tr)
		must(t, err)
		files[h.Name] = fmt.Sprintf("%c %o %d:%d %s %v %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, h.PAXRecords, factory.DigestOf(b).Short())
	}
	if len(files) < 2000 {
		t.Fatalf("a root with %d files", len(files))
	}
	_, err := io.Copy(io.Discard, r)
	must(t, err)
	return files
}

func differences(a, b map[string]string) (paths []string) {
	for f, what := range a {
		if b[f] != what {
			paths = append(paths, f+": "+what+" -> "+b[f])
		}
	}
	for f := range b {
		if _, there := a[f]; !there {
			paths = append(paths, f+": new")
		}
	}
	return paths
}
