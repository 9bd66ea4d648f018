package ansible_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/ansible"
	"github.com/imagefactory/imagefactory/factory/definition"
)

// entry is one entry of a tar of inputs; its zero kind is a file.
type entry struct {
	name, text string
	kind       byte
}

// small is a job's inputs with a profile of one control; extra entries follow.
func small(t *testing.T, extra ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range append([]entry{
		{name: "ansible/ansible.cfg", text: "[defaults]\n"},
		{name: "ansible/site.yml", text: "---\n"},
		{name: "ansible/callback_plugins/x.py", text: "#\n"},
		{name: "ansible/roles/r/defaults/main.yml", text: "---\nr_size: 1\n"},
		{name: "ansible/roles/other/tasks/main.yml", text: "---\n"},
		{name: "ansible/roles/r2/tasks/main.yml", text: "---\n"},
		{name: "ansible/profiles/p.yaml", text: "profile: p\nroles: [r]\nplaybook: site.yml\ncontrols: [{id: \"1.1\", title: T}]\n"},
		{name: "baseimages/debian-12/image.yaml", text: "kind: base\n"},
		{name: "ansible/roles/r/files/with a space.conf", text: "x"},
	}, extra...) {
		h := &tar.Header{Name: e.name, Typeflag: cmp.Or(e.kind, tar.TypeReg), Mode: 0o644, Size: int64(len(e.text))}
		if h.Typeflag == tar.TypeSymlink {
			h.Linkname, h.Size, e.text = e.text, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func one(t *testing.T, inputs []byte) factory.Built {
	b := built(t, factory.Hardening{Profile: "p", Level: 1, Scope: "vm"})
	b.Inputs = inputs
	return b
}

func TestOnlyWhatTheProfileNeedsIsTaken(t *testing.T) {
	t.Parallel()
	runner := &recorded{result: factory.StepResult{Output: map[string][]byte{
		"outcomes.json": []byte(`{"schema":1,"outcomes":[{"control":"1.1","outcome":"applied"}]}`)}}}
	if _, err := (ansible.Hardener{Runner: runner}).Harden(t.Context(), one(t, small(t))); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range runner.steps[0].Files {
		names = append(names, strings.TrimPrefix(name, "/.play/"))
	}
	slices.Sort(names)
	want := []string{"ansible.cfg", "bin/action/cis_controls.py", "bin/python3", "callback_plugins/x.py", "profiles/p.yaml", "roles/r/defaults/main.yml",
		"roles/r/files/with a space.conf", "site.yml", "vars.json"}
	if !slices.Equal(names, want) {
		t.Errorf("files %q", names)
	}
}

// What is mounted is what the roles' digests were taken of: nothing of the folder that was left out of the inputs comes back.
func TestThePlayIsWhatWasPacked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"ansible", "baseimages", "CODEOWNERS"} {
		src := filepath.Join(repository, name)
		if info, err := os.Stat(src); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			err = os.CopyFS(filepath.Join(dir, name), os.DirFS(src))
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		b, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	role := filepath.Join(dir, "ansible/roles/cis_debian")
	for _, name := range []string{".secret.yml", "tasks/main.yml~", "tasks/x.pyc", "tasks/.#pam.yml"} {
		if err := os.WriteFile(filepath.Join(role, name), []byte("leftover"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, err := definition.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	img, err := set.Image("debian-12")
	if err != nil {
		t.Fatal(err)
	}
	b := built(t, level2())
	if b.Inputs, _, err = definition.Pack(dir, img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(role, "tasks/main.yml"), []byte("changed after it was locked"), 0o644); err != nil {
		t.Fatal(err)
	}
	runner := played(t, 0, "applied.json")
	if _, err := (ansible.Hardener{Runner: runner}).Harden(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for name, f := range runner.steps[0].Files {
		if text := string(f.Data); text == "leftover" || strings.HasPrefix(text, "changed after") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestBrokenInputs(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("#", 2<<20)
	const profile = "ansible/profiles/p.yaml"
	cases := map[string]struct {
		inputs []byte
		says   string
	}{
		"profile is no yaml":   {small(t, entry{name: profile, text: "roles: {"}), profile},
		"profile is empty":     {small(t, entry{name: profile, text: "profile: p\n"}), "lacks its name"},
		"role is missing":      {small(t, entry{name: profile, text: "profile: p\nroles: [gone]\nplaybook: site.yml\ncontrols: [{id: \"1.1\"}]\n"}), "ansible/roles/gone: the profile's play is incomplete"},
		"playbook leaves":      {small(t, entry{name: profile, text: "profile: p\nroles: [r]\nplaybook: ../x\ncontrols: [{id: \"1.1\"}]\n"}), "lacks its name"},
		"file is large":        {small(t, entry{name: "ansible/roles/r/files/big", text: big}), "ansible/roles/r/files/big: the play is too large"},
		"file is a link":       {small(t, entry{name: "ansible/roles/r/files/link", text: "/etc/shadow", kind: tar.TypeSymlink}), "not a regular file"},
		"file leaves":          {small(t, entry{name: "ansible/roles/r/../../../x", text: "x"}), "not a regular file"},
		"defaults are no yaml": {small(t, entry{name: "ansible/roles/r/defaults/main.yml", text: "- a\nb: ]"}), "role defaults"},
		"no inputs":            {nil, "no hardening profile"},
		"no tar":               {[]byte(strings.Repeat("x", 600)), "no tar"},
		"cut off":              {small(t)[:515], "cut off"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ansible.Hardener{Runner: &recorded{}}.Harden(t.Context(), one(t, c.inputs))
			if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}
