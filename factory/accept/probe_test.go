package accept_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// probe builds the image's only program, without any library.
var probe = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "probe-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "probe")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(out)))
	}
	return os.ReadFile(file)
})

// image is a small root filesystem with one program.
func image(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	program, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		"bin/probe":   string(program),
		"bin/su":      "su",
		"etc/passwd":  "root:x:0:0:root:/root:/bin/bash\n# comment:x:1:1:::\napp:x:1000:1000:App:/home/app:/bin/probe\nodd line\ntoor:x:0:0::/:/bin/bash\n",
		"etc/group":   "root:x:0:\napp:x:1000:\nmedia:x:44:app,root\n",
		"etc/motd":    "welcome to debian",
		"work/here":   "",
		"etc/big":     "",
		"tmp/deep/sg": "",
		"var/lib/dpkg/status": "Package: bash\nStatus: install ok installed\nVersion: 5.2\nDescription: shell\n Status: odd\n\n" +
			"Package: curl\nStatus: deinstall ok config-files\n\nPackage: vim\nStatus: install ok half-configured\n",
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{"bin/probe": 0o755, "bin/su": 0o755 | os.ModeSetuid, "tmp/deep/sg": 0o755 | os.ModeSetgid, "tmp": 0o777 | os.ModeSticky} {
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Truncate(filepath.Join(dir, "etc/big"), 33<<20), os.Symlink("motd", filepath.Join(dir, "etc/link")), syscall.Mkfifo(filepath.Join(dir, "etc/pipe"), 0o644),
		os.Symlink("/bin/su", filepath.Join(dir, "bin/su-link"))); err != nil {
		t.Fatal(err)
	}
	return dir
}
