package system_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
)

// A full disk stops a night and nothing else: the release that there was stays whole, and with room again the night is made up for.
func TestStateDirectoryFull(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	p.onTmpfs(t, "400m")
	repository := p.Addr + "/debian-13"
	old := nightOf(t, p.ok(t, "nightly", "--json")).job(t, "debian-13")

	p.edit(t, "baseimages/debian-13/tests.yaml", "use: [debian]", "use: [debian]\n# changed")
	ballast := filepath.Join(p.State, "ballast")
	fill(t, ballast, 8<<20)
	r := p.run(t, "nightly")
	if r.Exit != 6 && r.Exit != 1 || !strings.Contains(r.said(), "no space left") && !strings.Contains(r.said(), "full") {
		t.Errorf("exit %d: %s", r.Exit, r.said())
	}
	t.Logf("exit %d: %s", r.Exit, r.last())
	must(t, os.Remove(ballast))
	p.serve(t)
	if tags := p.sound(t, repository); len(tags) != 1 || p.release(t, "debian-13").Digest != old.Digest {
		t.Errorf("the old release suffered: %v", tags)
	}
	job := nightOf(t, p.ok(t, "nightly", "--json")).job(t, "debian-13")
	if tags := p.sound(t, repository); len(tags) != 2 || job.Ref == "" || job.Ref == old.Ref {
		t.Errorf("%v %+v", tags, job)
	}
}

// onTmpfs puts the state directory, but not what is shared, on a small disk of its own.
func (p plant) onTmpfs(t *testing.T, size string) {
	t.Helper()
	aside := p.State + "-aside"
	must(t, os.Rename(p.State, aside))
	must(t, os.Mkdir(p.State, 0o700))
	must(t, syscall.Mount("tmpfs", p.State, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { must(t, syscall.Unmount(p.State, syscall.MNT_DETACH)) })
	out, err := exec.Command("cp", "-a", aside+"/.", p.State).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// fill leaves no more than so many bytes free where file lies.
func fill(t *testing.T, file string, leave int64) {
	t.Helper()
	var st syscall.Statfs_t
	must(t, syscall.Statfs(filepath.Dir(file), &st))
	must(t, os.WriteFile(file, make([]byte, int64(st.Bavail)*st.Bsize-leave), 0o600))
}

// What is corrupt is refused with its place and a way out, and stays as it is.
func TestCorruptFiles(t *testing.T) {
	p := newPlant(t)
	lock := filepath.Join(p.Dir, "baseimages", "debian-13", "lock.json")
	good, err := os.ReadFile(lock)
	must(t, err)
	must(t, os.WriteFile(lock, good[:len(good)/2], 0o644))
	for _, args := range [][]string{{"build", "debian-13"}, {"check"}} {
		r := p.exits(t, 2, args...)
		if text := r.said() + r.Stdout; !strings.Contains(text, "baseimages/debian-13/lock.json") || !strings.Contains(text, "corrupt lock") || !strings.Contains(text, "factory lock") {
			t.Errorf("%v: %s", args, text)
		}
	}
	must(t, os.WriteFile(lock, good, 0o644))

	database := filepath.Join(p.State, "factory.db")
	p.ok(t, "runs")
	b, err := os.ReadFile(database)
	must(t, err)
	copy(b, "this is no database any more")
	must(t, os.WriteFile(database, b, 0o600))
	r := p.exits(t, 2, "nightly")
	if !strings.Contains(r.said(), database) || !strings.Contains(r.said(), "corrupt") || !strings.Contains(r.said(), "mv ") {
		t.Errorf("%s", r.said())
	}
	if after, err := os.ReadFile(database); err != nil || string(after) != string(b) {
		t.Errorf("the database was touched: %v", err)
	}
}

// The night on PostgreSQL, and with a build service that somebody else runs: it is used, and left running.
func TestPostgresAndAnExistingBuildService(t *testing.T) {
	p := newPlant(t)
	pg, err := storetest.StartPostgres()
	must(t, err)
	t.Cleanup(func() { must(t, pg.Stop()) })
	p.Flags = []string{"--database", pg.Database(t), "--buildkit", buildService(t, p)}

	r := p.ok(t, "nightly", "--json")
	n := nightOf(t, r)
	for _, image := range images {
		job, release := n.job(t, image), p.release(t, image)
		if job.Ref == "" || release.Tagged() != job.Ref || release.Digest != job.Digest || len(release.Tests) < 60 || len(release.Controls) < 100 || len(release.Signatures) < 2 {
			t.Errorf("%+v\n%s %s", job, release.Tagged(), release.Digest)
		}
	}
	if r.saw(func(e factory.Event) bool { return strings.Contains(e.Message, "starting buildkitd") }) {
		t.Error("it started a build service of its own")
	}
	again := nightOf(t, p.ok(t, "nightly", "--json"))
	for _, image := range images {
		if !kept(again.job(t, image)) {
			t.Errorf("%+v", again.job(t, image))
		}
	}
	if runs := p.runs(t); len(runs) != 2 || runs[0].ID != again.Run || runs[1].ID != n.Run || runs[1].State != factory.Succeeded {
		t.Errorf("%+v", runs)
	}
	if _, err := os.Stat(filepath.Join(p.State, "factory.db")); err == nil {
		t.Error("a database file was made all the same")
	}
}

// buildService starts a buildkitd as an administrator would, on the shared cache, and returns its address.
func buildService(t *testing.T, p plant) string {
	t.Helper()
	bin, err := driver()
	must(t, err)
	p.noDaemon(t)
	dir, err := os.MkdirTemp("", "bk") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr := "unix://" + filepath.Join(dir, "sock")
	cmd := exec.Command(filepath.Join(filepath.Dir(bin), "buildkitd"), "--root", filepath.Join(p.State, "buildkit", "root"), "--addr", addr,
		"--oci-worker-net=host", "--otel-socket-path", filepath.Join(dir, "otel"))
	daemon := launch(t, cmd)
	eventually(t, "buildkitd to listen", time.Minute, func() bool { _, err := os.Stat(filepath.Join(dir, "sock")); return err == nil })
	t.Cleanup(func() {
		select {
		case <-daemon.done:
			t.Error("the build service was stopped")
		default:
			daemon.signal(t, syscall.SIGTERM)
			daemon.wait(t)
		}
	})
	return addr
}
