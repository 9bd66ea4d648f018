package upstream

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// essentials are the programs of this machine from which a test archive's only essential package is made: what dpkg
// needs to install something in a root filesystem.
var essentials = []string{"sh", "dpkg", "dpkg-deb", "dpkg-split", "tar", "rm", "diff", "ldconfig", "start-stop-daemon", "env", "true"}

// core makes the package "core" out of this machine's programs and their libraries.
func core(t *testing.T, a *archive) pkg {
	t.Helper()
	tree := t.TempDir()
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(tree, "usr", dir), 0o755), os.Symlink("usr/"+dir, filepath.Join(tree, dir))); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name string) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(tree, name), b)
		if err := os.Chmod(filepath.Join(tree, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range essentials {
		file, err := exec.LookPath(name)
		if err != nil {
			file = "/sbin/" + name
		}
		put(file)
		out, _ := exec.Command("ldd", file).Output() // fails for static programs
		for word := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(word, "/") {
				put(word)
			}
		}
	}
	write(t, filepath.Join(tree, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\n"))
	write(t, filepath.Join(tree, "etc/group"), []byte("root:x:0:\n"))
	for _, dir := range []string{"tmp", "var/log", "dev", "proc", "sys", "root"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := pkg{name: "core", version: "1", control: "Essential: yes\n", tree: tree}
	a.publish(suite{name: "stable", pkgs: []pkg{p, {name: "tool", version: "2:1.0+x", post: "#!/bin/sh\necho made >/made\necho noise >/var/log/tool.log\n[ -z \"$FACTORY_PASSWORD\" ] || echo \"$FACTORY_PASSWORD\" >/leaked\n", control: "Depends: core\n"}}})
	return p
}

func toolbox(t *testing.T, a *archive) (Toolbox, factory.Image, factory.Lock) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a root filesystem needs root")
	}
	core(t, a)
	img := small("core", "tool")
	img.Packages.OmitPaths = []string{"/usr/share/doc/*"}
	img.Packages.KeepPaths = []string{"/usr/share/doc/core/*"}
	lock, _ := solve(t, a.solver(), Request{Image: img})
	return Toolbox{Dir: filepath.Join(t.TempDir(), "cache"), Archives: map[string]string{"debian": a.url()}, HTTP: a.server.Client()}, img, lock
}

// layer returns the files of a layout's one layer.
func layer(t *testing.T, layout string) map[string]string {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(layout, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	size := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	f, err := os.Open(slices.MaxFunc(blobs, func(a, b string) int { return int(size(a) - size(b)) }))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string]string{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(b)
	}
}

func TestToolbox(t *testing.T) {
	t.Setenv("FACTORY_PASSWORD", "hunter2")
	a := newArchive(t)
	tb, img, lock := toolbox(t, a)
	var mu sync.Mutex
	var bytes int64
	tb.Events = func(e factory.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Unit == "bytes" {
			bytes = max(bytes, e.Current)
		}
	}
	layout, d, err := tb.Ensure(t.Context(), img, lock)
	if err != nil {
		t.Fatal(err)
	}
	files := layer(t, layout)
	if files["made"] != "made\n" || files["etc/hostname"] != "toolbox\n" || !strings.Contains(files["opt/tb/bin/python3"], "exec /.toolbox/usr/lib64/ld-linux") ||
		files["etc/dpkg/dpkg.cfg.d/90factory"] != "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/core/*\n" {
		t.Errorf("%.300q", files)
	}
	for name := range files {
		if strings.HasPrefix(name, "var/log/") && name != "var/log/" && !strings.HasSuffix(name, "/") || strings.HasPrefix(name, "usr/share/doc/tool/") || strings.HasPrefix(name, "etc/apt/sources.list") && !strings.HasSuffix(name, "/") {
			t.Errorf("%s was left", name)
		}
	}
	if files["leaked"] != "" {
		t.Error("packages' scripts see the factory's environment")
	}
	for _, dir := range []string{"target/", ".out/", ".in/", "var/log/", "dev/"} {
		if _, ok := files[dir]; !ok {
			t.Errorf("%s is missing", dir)
		}
	}
	if bytes != lock.Size() {
		t.Errorf("progress ended at %d of %d", bytes, lock.Size())
	}

	t.Run("again from the cache", func(t *testing.T) {
		a.answer("", status(500))
		l2, d2, err := tb.Ensure(t.Context(), img, lock)
		if err != nil || l2 != layout || d2 != d {
			t.Errorf("%v %v %v", l2, d2, err)
		}
	})
	t.Run("another time and place", func(t *testing.T) {
		other := tb
		other.Dir, other.Scratch = t.TempDir(), t.TempDir()
		if err := os.CopyFS(filepath.Join(other.Dir, "packages"), os.DirFS(filepath.Join(tb.Dir, "packages"))); err != nil {
			t.Fatal(err)
		}
		if _, d2, err := other.Ensure(t.Context(), img, lock); err != nil || d2 != d {
			t.Errorf("%v is not %v: %v", d2, d, err)
		}
		if left, _ := os.ReadDir(other.Scratch); len(left) != 0 {
			t.Errorf("left in scratch: %v", left)
		}
	})
	t.Run("pinned", func(t *testing.T) {
		pin := lock
		pin.Digest = d
		if _, _, err := tb.Ensure(t.Context(), img, pin); err != nil {
			t.Error(err)
		}
		pin.Digest = factory.DigestOf(nil)
		if _, _, err := tb.Ensure(t.Context(), img, pin); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "factory lock small") {
			t.Error(err)
		}
	})
	t.Run("pinned again", func(t *testing.T) {
		var warned []string
		loud := tb
		loud.Events = func(e factory.Event) {
			if e.Kind == factory.Warned {
				warned = append(warned, e.Message)
			}
		}
		for _, c := range []struct {
			was      factory.Digest
			warnings int
		}{{"", 0}, {d, 0}, {factory.DigestOf(nil), 1}} {
			pin := lock
			pin.Digest = c.was
			got, err := loud.Pin(t.Context(), img, pin)
			if err != nil || got.Digest != d || !got.SamePackages(lock) || len(warned) != c.warnings {
				t.Errorf("from %q: %s %v, warnings %q", c.was, got.Digest, err, warned)
			}
		}
		if !strings.Contains(warned[0], d.Short()) || !strings.Contains(warned[0], factory.DigestOf(nil).Short()) {
			t.Errorf("warning %q", warned)
		}
		none := lock
		none.Platforms = nil
		if _, err := (Toolbox{Dir: t.TempDir()}).Pin(t.Context(), img, none); !errors.Is(err, factory.ErrInvalid) {
			t.Error(err)
		}
	})
	t.Run("two stay", func(t *testing.T) {
		names := []string{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), "mine"}
		for i, name := range names {
			write(t, filepath.Join(tb.Dir, name, "index.json"), nil)
			at := day.AddDate(0, 0, i%3)
			if err := os.Chtimes(filepath.Join(tb.Dir, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Truncate(blobsOf(t, layout)[0], 3); err != nil {
			t.Fatal(err)
		}
		if _, _, err := tb.Ensure(t.Context(), img, lock); err != nil {
			t.Fatal(err)
		}
		for name, stays := range map[string]bool{names[0]: false, names[1]: false, names[2]: true, "mine": true, "packages": true, filepath.Base(layout): true} {
			if _, err := os.Stat(filepath.Join(tb.Dir, name)); (err == nil) != stays {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("damaged cache is made again", func(t *testing.T) {
		if err := os.Truncate(blobsOf(t, layout)[0], 3); err != nil {
			t.Fatal(err)
		}
		if _, d2, err := tb.Ensure(t.Context(), img, lock); err != nil || d2 != d {
			t.Error(d2, err)
		}
	})
	t.Run("rotten package", func(t *testing.T) {
		if err := os.RemoveAll(layout); err != nil {
			t.Fatal(err)
		}
		p := lock.Platforms[0].Packages[1]
		deb := filepath.Join(tb.Dir, "packages", p.SHA256.Hex()+".deb")
		write(t, deb, make([]byte, p.Size))
		if _, _, err := tb.Ensure(t.Context(), img, lock); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), p.Path) {
			t.Error(err)
		}
		if _, err := os.Stat(deb); err == nil {
			t.Error("the rotten file is still there")
		}
		if _, err := os.Stat(layout); err == nil {
			t.Error("a partial toolbox is there")
		}
	})
}

func blobsOf(t *testing.T, layout string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(layout, "blobs/sha256/*"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return all
}

func TestToolboxRefuses(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	tb, img, lock := toolbox(t, a)
	t.Run("two platforms", func(t *testing.T) {
		two := img
		two.Platforms = append(slices.Clone(two.Platforms), factory.Platform{OS: "linux", Architecture: "arm64"})
		if _, _, err := tb.Ensure(t.Context(), two, lock); !errors.Is(err, factory.ErrInvalid) {
			t.Error(err)
		}
	})
	t.Run("packages that do not install", func(t *testing.T) {
		less := lock
		less.Platforms = []factory.LockedPlatform{{Platform: img.Platforms[0], Packages: lock.Platforms[0].Packages[1:]}}
		if _, _, err := tb.Ensure(t.Context(), img, less); err == nil || !strings.Contains(err.Error(), "small: mmdebstrap") {
			t.Error(err)
		}
	})
	t.Run("cancelled while another makes it", func(t *testing.T) {
		f, err := os.OpenFile(filepath.Join(tb.Dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := tb
		waiting.Events = func(e factory.Event) {
			if strings.Contains(e.Message, "waiting for another run") {
				cancel()
			}
		}
		if _, _, err := waiting.Ensure(ctx, img, lock); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
