package buildkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

var amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}

// withToolbox is a client with a toolbox that is an empty layout: enough to describe steps.
func withToolbox(t *testing.T) *Client {
	t.Helper()
	c := &Client{Archives: map[string]string{"debian": "http://archive.invalid/debian/"}, Nonce: func() string { return "n1" }}
	if err := c.UseToolbox(t.TempDir(), factory.DigestOf([]byte("toolbox"))); err != nil {
		t.Fatal(err)
	}
	return c
}

// ops are the operations of a definition.
func ops(t *testing.T, st llb.State) (all []*pb.Op) {
	t.Helper()
	def, err := st.Marshal(t.Context(), llb.Platform(ociPlatform(amd64)))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(raw); err != nil {
			t.Fatal(err)
		}
		all = append(all, &op)
	}
	return all
}

func execs(all []*pb.Op) (found []*pb.ExecOp) {
	for _, op := range all {
		if e := op.GetExec(); e != nil {
			found = append(found, e)
		}
	}
	return found
}

func locked(fresh string) factory.Locked {
	pkg := factory.Package{Name: "bash", Version: "5.2", Arch: "amd64", Archive: "debian", Path: "pool/main/b/bash/bash_5.2_amd64.deb", Size: 1, SHA256: factory.DigestOf([]byte("bash"))}
	return factory.Locked{Fresh: fresh, Job: factory.Job{Image: factory.Image{Name: "debian-12", Distro: factory.Distro{Family: factory.Debian, Release: "12"}, Users: []factory.User{{Name: "nonroot", UID: 1, GID: 2, Home: "/h", Shell: "/s"}}}},
		Lock: factory.Lock{Platforms: []factory.LockedPlatform{{Platform: amd64, Packages: []factory.Package{pkg}}}}}
}

// Every package is a checksummed source, and no step of a build has network.
func TestBuildIsHermetic(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	st, err := c.rootfs(locked(""), locked("").Lock.Platforms[0])
	if err != nil {
		t.Fatal(err)
	}
	all := ops(t, st)
	sources := map[string]map[string]string{}
	for _, op := range all {
		if s := op.GetSource(); s != nil {
			sources[s.Identifier] = s.Attrs
		}
	}
	deb := sources["http://archive.invalid/debian/pool/main/b/bash/bash_5.2_amd64.deb"]
	if deb[pb.AttrHTTPChecksum] != string(factory.DigestOf([]byte("bash"))) || len(sources) != 2 {
		t.Errorf("sources %v", sources)
	}
	found := execs(all)
	if len(found) != 2 {
		t.Fatalf("%d steps", len(found))
	}
	for _, e := range found {
		if e.Network != pb.NetMode_NONE {
			t.Errorf("%v has network %v", e.Meta.Args, e.Network)
		}
		for _, a := range e.Meta.Args {
			if a == "-c" {
				t.Errorf("data may reach a shell: %v", e.Meta.Args)
			}
		}
	}
}

func TestFreshIsAnotherDefinition(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	state := func(fresh string) string {
		st, err := c.rootfs(locked(fresh), locked(fresh).Lock.Platforms[0])
		if err != nil {
			t.Fatal(err)
		}
		r, err := marshal(t.Context(), st, amd64)
		if err != nil {
			t.Fatal(err)
		}
		return string(r.State)
	}
	if one, again := state(""), state(""); one != again || state("a") == state("") || state("a") == state("b") {
		t.Error("the same inputs are one definition, and each fresh attempt is its own")
	}
}

func TestUnknownArchive(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	c.Archives = nil
	_, err := c.rootfs(locked(""), locked("").Lock.Platforms[0])
	if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "archives.debian in factory.yaml") {
		t.Error(err)
	}
}

func TestStepIsDescribedAsAsked(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	s := factory.Step{Name: "harden", Root: factory.Root{Platform: amd64}, Args: []string{"/bin/true"}, Env: []string{"A=b=c"}, User: "1:2", Dir: "/w", Toolbox: true,
		Tmpfs: []string{"/tmp"}, Output: "/.out", Files: map[string]factory.File{"/.play/roles/a/b.yml": {Data: []byte("x")}, "/.play/site.yml": {Data: []byte("y"), Mode: 0o600}}}
	exec, err := c.exec(t.Context(), s, "once")
	if err != nil {
		t.Fatal(err)
	}
	e := execs(ops(t, exec.GetMount("/.out")))[0]
	mounts := map[string]*pb.Mount{}
	for _, m := range e.Mounts {
		mounts[m.Dest] = m
	}
	for _, dest := range []string{"/", "/.toolbox", "/.play", "/.factory", "/.out", "/tmp"} {
		if mounts[dest] == nil {
			t.Fatalf("no mount at %s in %v", dest, mounts)
		}
	}
	if !mounts["/.toolbox"].Readonly || !mounts["/.play"].Readonly || mounts["/.out"].Readonly || mounts["/tmp"].MountType != pb.MountType_TMPFS {
		t.Errorf("mounts %v", mounts)
	}
	if e.Meta.User != "1:2" || e.Meta.Cwd != "/w" || e.Network != pb.NetMode_NONE || e.Meta.Env[len(e.Meta.Env)-1] != "A=b=c" {
		t.Errorf("meta %v", e.Meta)
	}
	args := strings.Join(e.Meta.Args, " ")
	if !strings.HasPrefix(args, "/.toolbox/") || !strings.HasSuffix(args, "/.factory/run.py /.out /bin/true") {
		t.Errorf("args %s", args)
	}
	s.Network, s.Output, s.Toolbox = true, "", false
	plain, err := c.exec(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	if e := execs(ops(t, plain.Root()))[0]; e.Network == pb.NetMode_NONE || len(e.Meta.Args) != 1 {
		t.Errorf("a plain step: %v", e)
	}
}

// The command sees the toolbox, the root is a mount that it may write to, and neither keeps what it wrote.
func TestStepInTheToolbox(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	target, err := marshal(t.Context(), llb.Scratch().File(llb.Mkfile("/etc", 0o644, nil)), amd64)
	if err != nil {
		t.Fatal(err)
	}
	s := factory.Step{Name: "prove", Root: target, Args: []string{"/usr/bin/oscap"}, InToolbox: true, Tmpfs: []string{"/tmp"}, Output: "/.out",
		Files: map[string]factory.File{"/.prove/prove.py": {Data: []byte("x")}}}
	exec, err := c.exec(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	all := ops(t, exec.GetMount("/.out"))
	e := execs(all)[0]
	var last *pb.Op // the exec's own operation, whose inputs the mounts count
	for _, op := range all {
		if op.GetExec() != nil {
			last = op
		}
	}
	box, _ := c.Toolbox()
	for _, m := range e.Mounts {
		switch m.Dest {
		case "/", factory.TargetMount:
			if m.Readonly || m.Input < 0 {
				t.Errorf("mount %v", m)
			}
			want := box
			if m.Dest == factory.TargetMount {
				want = target
			}
			if d := last.Inputs[m.Input].Digest; !bytes.Contains(want.State, []byte(d)) {
				t.Errorf("%s is %s, which is not the filesystem that belongs there", m.Dest, d)
			}
		case factory.ToolboxMount:
			t.Error("the toolbox is mounted a second time")
		}
	}
	if args := strings.Join(e.Meta.Args, " "); args != "/usr/bin/python3 -s /.factory/run.py /.out /usr/bin/oscap" || e.Network != pb.NetMode_NONE {
		t.Errorf("args %s, network %v", args, e.Network)
	}
	s.Toolbox = true
	if _, err := c.exec(t.Context(), s, ""); err == nil {
		t.Error("a step was described that is in the toolbox and mounts it")
	}
	s.Toolbox = false
	if _, err := (&Client{}).exec(t.Context(), s, ""); err == nil {
		t.Error("a step was described that is in no toolbox")
	}
	s.Root.State = []byte{0xff}
	if _, err := c.exec(t.Context(), s, ""); err == nil {
		t.Error("a step was described whose root cannot be read")
	}
}

func TestRootsAreData(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	box, err := c.Toolbox()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(box)
	var copied factory.Root
	if err := json.Unmarshal(b, &copied); err != nil {
		t.Fatal(err)
	}
	st, err := unmarshal(copied)
	if err != nil {
		t.Fatal(err)
	}
	again, err := marshal(t.Context(), st, amd64)
	if err != nil || !bytes.Equal(again.State, box.State) {
		t.Errorf("a root changed on its way through JSON: %v", err)
	}
	def, _ := st.Marshal(t.Context())
	if stores := c.storesOf(def); len(stores) != 1 {
		t.Errorf("%d stores are attached, want the toolbox's", len(stores))
	}
	empty, err := marshal(t.Context(), llb.Scratch(), amd64)
	if err != nil || empty.State != nil {
		t.Errorf("the empty filesystem: %v %v", empty, err)
	}
	for _, bad := range [][]byte{{1, 2, 3}, {0xff}} {
		if _, err := unmarshal(factory.Root{Platform: amd64, State: bad}); err == nil {
			t.Errorf("%v was read", bad)
		}
	}
}

func TestDaemonSaysWhatIsMissing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the daemon needs root before anything else")
	}
	dir := t.TempDir()
	runc := filepath.Join(dir, "runc")
	if err := os.WriteFile(runc, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err := (&Daemon{Dir: dir}).Start(t.Context()); !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "apt-get install runc") {
		t.Errorf("no runc: %v", err)
	}
	t.Setenv("PATH", dir)
	if _, _, err := (&Daemon{Dir: dir, Beside: dir}).Start(t.Context()); !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "make bin/buildkitd") {
		t.Errorf("no buildkitd: %v", err)
	}
	quits := filepath.Join(dir, "buildkitd")
	if err := os.WriteFile(quits, []byte("#!/bin/sh\necho broken configuration\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Daemon{{Dir: dir, Beside: dir}, {Dir: dir}, {Dir: dir, Binary: quits}} {
		if _, _, err := d.Start(t.Context()); !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "exit 3") || !strings.Contains(err.Error(), "buildkitd.log") {
			t.Errorf("it ends at once: %v", err)
		}
	}
	if log, _ := os.ReadFile(filepath.Join(dir, "buildkitd.log")); string(log) != "broken configuration\n" {
		t.Errorf("log %q", log)
	}
	if (&Daemon{}).cacheMiB() != 10240 || (&Daemon{CacheBytes: 1 << 30}).cacheMiB() != 1024 {
		t.Error("cache size")
	}
}

func TestRecipeNamesBothScripts(t *testing.T) {
	t.Parallel()
	if r := Recipe(factory.Deb); r == factory.DigestOf(unpackScript) || r != factory.DigestOf(append(bytes.Clone(unpackScript), configureScript...)) {
		t.Error(r)
	}
}
