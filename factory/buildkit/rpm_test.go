package buildkit

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/rpmpack"

	"github.com/imagefactory/imagefactory/factory"
)

var packaged = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// newKey makes a key that signs packages; making one takes a second.
func newKey(t testing.TB, name string) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity(name, "test", "test@example.invalid", &packet.Config{DefaultHash: crypto.SHA256, RSABits: 2048, Time: func() time.Time { return packaged }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var (
	pinnedKey = sync.OnceValue(func() *openpgp.Entity { return newKey(new(testing.T), "pinned") })
	otherKey  = sync.OnceValue(func() *openpgp.Entity { return newKey(new(testing.T), "other") })
)

func keyOf(t testing.TB, file string, entities ...*openpgp.Entity) factory.Key {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	for _, e := range entities {
		if err == nil {
			err = e.Serialize(w)
		}
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return factory.Key{File: file, Fingerprint: fmt.Sprintf("%X", entities[0].PrimaryKey.Fingerprint), Armored: b.String() + "\n"}
}

// small is a package of a test.
type small struct {
	name, pre, post string
	files           map[string]string // a name that ends in a slash is a folder, a content that starts with -> a link
	owner           string
	requires        []string
	key             *openpgp.Entity // nil = unsigned
}

// pack writes the package and says how the plan names it: version 1:2-3.
func (s small) pack(t testing.TB, dir string) installPackage {
	t.Helper()
	p, err := rpmpack.NewRPM(rpmpack.RPMMetaData{Name: s.name, Version: "2", Release: "3", Epoch: 1, Arch: "x86_64", BuildTime: packaged, Summary: s.name, Compressor: "gzip:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.requires {
		if err := p.Requires.Set(r); err != nil {
			t.Fatal(err)
		}
	}
	owner := s.owner
	if owner == "" {
		owner = "root"
	}
	for name, content := range s.files {
		f := rpmpack.RPMFile{Name: strings.TrimSuffix(name, "/"), Body: []byte(content), Mode: 0o755, Owner: owner, Group: owner, MTime: uint32(packaged.Unix())}
		if to, link := strings.CutPrefix(content, "->"); link {
			f.Body, f.Mode = []byte(to), 0o120777
		} else if strings.HasSuffix(name, "/") {
			f.Mode |= 0o040000
		}
		p.AddFile(f)
	}
	p.AddPrein(s.pre)
	p.AddPostin(s.post)
	if s.key != nil {
		p.SetPGPSigner(func(b []byte) ([]byte, error) {
			var sig bytes.Buffer
			salted := false // the same package has the same bytes
			err := openpgp.DetachSign(&sig, s.key, bytes.NewReader(b), &packet.Config{DefaultHash: crypto.SHA256, Time: func() time.Time { return packaged }, NonDeterministicSignaturesViaNotation: &salted})
			return sig.Bytes(), err
		})
	}
	var out bytes.Buffer
	if err := p.Write(&out); err != nil {
		t.Fatal(err)
	}
	return written(t, dir, s.name, out.Bytes())
}

func written(t testing.TB, dir, name string, b []byte) installPackage {
	t.Helper()
	file := filepath.Join(dir, name+".rpm")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return installPackage{Name: name, Version: "1:2-3", Arch: "x86_64", File: file}
}

// shell is a package with everything that scripts of a test use, packed once.
func shell(t testing.TB, dir string) installPackage {
	t.Helper()
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("busybox-static is not installed")
	}
	return written(t, dir, "shell", packedShell())
}

var packedShell = sync.OnceValue(func() []byte {
	t := new(testing.T)
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		panic(err)
	}
	s := small{name: "shell", key: pinnedKey(), files: map[string]string{"/usr/bin/busybox": string(busybox), "/bin": "->usr/bin", "/etc/": "", "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
		"/etc/group": "root:x:0:\n", "/etc/shadow": "root:*:1:0:99999:7:::\n", "/etc/gshadow": "root:::\n"}}
	for _, applet := range []string{"sh", "cat", "echo", "touch", "stat", "dd", "mv", "ln"} {
		s.files["/usr/bin/"+applet] = "->busybox"
	}
	dir, err := os.MkdirTemp("", "shell-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	b, err := os.ReadFile(s.pack(t, dir).File)
	if err != nil {
		panic(err)
	}
	return b
})

// needsRPM skips where the host has no rpm for Python.
func needsRPM(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("installing changes the root and sets owners, which needs root")
	}
	for _, program := range []string{"/usr/bin/python3", "rpmkeys"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if out, err := exec.Command("/usr/bin/python3", "-s", "-c", "import rpm, sqlite3").CombinedOutput(); err != nil {
		t.Skipf("%s", out)
	}
}

// installAll runs the script on this host as Build does in the toolbox.
func installAll(t *testing.T, plan installPlan, keys ...factory.Key) (root, said string, exit int) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	said, exit = installInto(t, root, plan, keys...)
	return root, said, exit
}

func installInto(t *testing.T, root string, plan installPlan, keys ...factory.Key) (said string, exit int) {
	t.Helper()
	needsRPM(t)
	dir := t.TempDir()
	for i, k := range keys {
		at := filepath.Join(dir, "key"+strconv.Itoa(i))
		plan.Keys = append(plan.Keys, at)
		if err := os.WriteFile(at, []byte(k.Armored), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan.Arch, plan.Timestamp, plan.Omit, plan.Users = "x86_64", made.Unix(), append([]string{}, plan.Omit...), append([]installUser{}, plan.Users...)
	plan.Packages = append([]installPackage{}, plan.Packages...)
	if plan.Database == "" {
		plan.Database = "sqlite"
	}
	b, _ := json.Marshal(plan)
	for name, data := range map[string][]byte{"plan.json": b, "install_rpm.py": installScript, "rpm_root.py": rootScript, "rpm_database.py": databaseScript} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/usr/bin/python3", "-s", filepath.Join(dir, "install_rpm.py"), filepath.Join(dir, "plan.json"), root)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C", "SOURCE_DATE_EPOCH="+strconv.FormatInt(made.Unix(), 10))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// made is the lock's time.
var made = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)

// rpmOf asks the host's rpm about the root's database.
func rpmOf(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, err := exec.Command("rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm"}, args...)...).CombinedOutput()
	if err != nil {
		t.Errorf("rpm %q: %v %s", args, err, out)
	}
	return string(out)
}

// tool is a package that does all that packages do.
func tool(t testing.TB, dir string) installPackage {
	return small{name: "tool", key: pinnedKey(), requires: []string{"shell", "/bin/sh"}, owner: "tool",
		pre:   "echo tool:x:99:99::/:/bin/sh >>/etc/passwd; echo tool:x:99: >>/etc/group",
		post:  "echo hello; echo x >/dev/null; test -c /dev/urandom && stat -c %U /usr/bin/tool >/etc/configured",
		files: map[string]string{"/usr/bin/tool": "#!\n", "/usr/share/doc/tool/": "", "/usr/share/doc/tool/README": "x", "/usr/share/man/man1/": "", "/usr/share/man/man1/tool.1": "y"}}.pack(t, dir)
}

func TestInstall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := installPlan{Omit: []string{"/usr/share/doc", "/usr/share/man"}, Users: []installUser{{"nonroot", 65532, 65532, "/home/nonroot", "/sbin/nologin"}, {"second", 7, 99, "/", "/bin/sh"}},
		Packages: []installPackage{shell(t, dir), tool(t, dir)}}
	root, said, exit := installAll(t, plan, keyOf(t, "other.asc", otherKey()), keyOf(t, "pinned.asc", pinnedKey()))
	if exit != 0 || !strings.Contains(said, "installing tool (2 of 2)\nhello\n") {
		t.Fatalf("exit %d: %s", exit, said)
	}
	for name, want := range map[string]string{
		"etc/configured": "tool\n", "usr/bin/tool": "#!\n", "etc/rpm/macros.factory": "# What this image leaves out of every package, its children leave out too.\n%_netsharedpath /usr/share/doc:/usr/share/man\n",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\ntool:x:99:99::/:/bin/sh\nnonroot:x:65532:65532::/home/nonroot:/sbin/nologin\nsecond:x:7:99::/:/bin/sh\n",
		"etc/group":  "root:x:0:\ntool:x:99:\nnonroot:x:65532:\n",
		"etc/shadow": "root:*:1:0:99999:7:::\nnonroot:!!:20777:0:99999:7:::\nsecond:!!:20777:0:99999:7:::\n", "etc/gshadow": "root:::\nnonroot:!::\n",
	} {
		if got := read(t, root, name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if home, err := os.Stat(filepath.Join(root, "home/nonroot")); err != nil || home.Mode() != os.ModeDir|0o750 || home.Sys().(*syscall.Stat_t).Uid != 65532 {
		t.Errorf("home %v %v", home, err)
	}
	for _, name := range []string{"usr/share", "dev/null", "var/lib/rpm/.rpm.lock", "var/lib/rpm/rpmdb.sqlite-wal"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := rpmOf(t, root, "-qa", "--qf", "%{name}-%{evr} %{installtid}\n"); got != "shell-1:2-3 1795140000\ntool-1:2-3 1795140000\n" {
		t.Errorf("installed %s", got)
	}
	if got := rpmOf(t, root, "-V", "tool"); got != "" {
		t.Errorf("changed or missing: %s", got)
	}
	again, said, exit := installAll(t, plan, keyOf(t, "pinned.asc", pinnedKey()))
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, said)
	}
	if out, err := exec.Command("diff", "-r", "--no-dereference", root, again).CombinedOutput(); err != nil {
		t.Errorf("a second time it differs: %s", out)
	}
}

// What is not what the lock and the keys say, and what goes wrong on the way.
func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	add := func(s small) func(*testing.T, *installPlan) {
		return func(t *testing.T, p *installPlan) {
			if s.requires == nil {
				s.requires = []string{"shell"}
			}
			if s.key == nil && s.name != "unsigned" {
				s.key = pinnedKey()
			}
			p.Packages = append(p.Packages, s.pack(t, t.TempDir()))
		}
	}
	for name, c := range map[string]struct {
		change func(*testing.T, *installPlan)
		exit   int
		says   string // the end of what is said
	}{
		"unsigned":    {add(small{name: "unsigned"}), 5, "unsigned-1:2-3.x86_64: it is not signed"},
		"another key": {add(small{name: "evil", key: otherKey()}), 5, "evil-1:2-3.x86_64: Header V4 RSA/SHA256 Signature, key ID "},
		"damaged": {func(t *testing.T, p *installPlan) {
			b, err := os.ReadFile(p.Packages[0].File)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-100]++
			if err := os.WriteFile(p.Packages[0].File, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, 5, "BAD"},
		"no package":    {func(_ *testing.T, p *installPlan) { p.Packages[0].File = "/etc/hostname" }, 5, "shell-1:2-3.x86_64: it is no package"},
		"other version": {func(_ *testing.T, p *installPlan) { p.Packages[0].Version = "1:2-4" }, 5, "shell-1:2-4.x86_64: the file is of shell-1:2-3.x86_64"},
		"other name":    {func(_ *testing.T, p *installPlan) { p.Packages[0].Name = "sh" }, 5, "sh-1:2-3.x86_64: the file is of shell-1:2-3.x86_64"},
		"other arch":    {func(_ *testing.T, p *installPlan) { p.Packages[0].Arch = "aarch64" }, 5, "the file is of shell-1:2-3.x86_64"},
		"not complete":  {add(small{name: "tool", requires: []string{"lib >= 5"}}), 2, "the lock is not complete: tool-1:2-3 needs lib 5"},
		"pre fails":     {add(small{name: "tool", pre: "echo because >&2; exit 3"}), 1, "scriptlet failed, exit status 3\nbecause\nerror: tool-1:2-3.x86_64: install failed\ntool: %pre failed\n"},
		"post fails":    {add(small{name: "tool", post: "echo because; exit 3"}), 1, "scriptlet failed, exit status 3\nbecause\ntool: %post failed\n"},
		"same file": {func(t *testing.T, p *installPlan) {
			add(small{name: "a", files: map[string]string{"/x": "a"}})(t, p)
			add(small{name: "b", files: map[string]string{"/x": "b"}})(t, p)
		}, 2, "file /x conflicts between attempted installs of "},
		"number is taken": {func(_ *testing.T, p *installPlan) { p.Users = []installUser{{"x", 0, 5, "/", "/bin/sh"}} }, 1, "account x: its name or its number 0 is taken by a package's account\nthe accounts and settings of the definition could not be made"},
		"name is taken":   {func(_ *testing.T, p *installPlan) { p.Users = []installUser{{"root", 5, 5, "/", "/bin/sh"}} }, 1, "could not be made"},
		"group is taken": {func(t *testing.T, p *installPlan) {
			add(small{name: "tool", post: "echo x:x:6: >>/etc/group"})(t, p)
			p.Users = []installUser{{"x", 5, 5, "/", "/bin/sh"}}
		}, 1, "could not be made"},
		"key is none": {func(t *testing.T, p *installPlan) {
			key := filepath.Join(t.TempDir(), "bad.asc")
			if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.Keys = []string{key}
		}, 5, "bad.asc: rpm does not take this key"},
		"the macro file is a link": {func(t *testing.T, p *installPlan) {
			add(small{name: "tool", files: map[string]string{"/etc/rpm/macros.factory": "->/etc/passwd"}})(t, p)
			p.Omit = []string{"/usr/share/doc"}
		}, 1, "could not be made"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := installPlan{Packages: []installPackage{shell(t, t.TempDir())}}
			c.change(t, &plan)
			_, said, exit := installAll(t, plan, keyOf(t, "pinned.asc", pinnedKey()))
			if exit != c.exit || !strings.Contains(said, c.says) || strings.Contains(said, "Traceback") {
				t.Errorf("exit %d: %s", exit, said)
			}
		})
	}
}
