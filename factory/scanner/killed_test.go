package scanner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// dying kills its own process when so many bytes were read.
type dying struct {
	r    io.Reader
	left int
}

func (d *dying) Read(b []byte) (int, error) {
	if d.left <= 0 {
		die()
	}
	n, err := d.r.Read(b[:min(len(b), d.left)])
	d.left -= n
	return n, err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// installAndDie is an installation that is killed at a point: dir, archive, when.
func installAndDie(args []string) {
	b, err := os.ReadFile(args[1])
	if err != nil {
		panic(err)
	}
	var r io.Reader = bytes.NewReader(b)
	check := reading
	d := Databases{Dir: args[0]}
	switch args[2] {
	case "beginning":
		r = &dying{r: r}
	case "reading":
		r = &dying{r: r, left: len(b) / 2}
	case "read":
		r = &dying{r: r, left: len(b)}
	case "checking":
		check = func(context.Context, string) (factory.Database, error) { die(); return factory.Database{}, nil }
	case "recording":
		d.Now = func() time.Time { die(); return today }
	case "switched":
		d.Events = func(factory.Event) { die() }
	}
	_, err = d.InstallArchive(context.Background(), factory.TrivyDatabase, "test", r, check)
	fmt.Println("nobody killed this process:", err)
	os.Exit(1)
}

// Wherever an installation is killed, the old database or the new one is whole and in use, and the next one cleans up.
func TestInstallKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	old, fresh := source(t, "CVE-1"), source(t, "CVE-2")
	file := filepath.Join(t.TempDir(), "db.tar.gz")
	must(t, os.WriteFile(file, packed(t, fresh), 0o600))
	whole := func(d Databases, want factory.Digest) {
		t.Helper()
		db, _, err := d.Current(t.Context())
		if err != nil || db.Digest != want || d.Verify(t.Context()) != nil {
			t.Errorf("%s, %v", db.Digest, err)
		}
	}
	for _, when := range []string{"beginning", "reading", "read", "checking", "recording", "switched"} {
		d := Databases{Dir: t.TempDir()}
		before, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "test", old, reading)
		must(t, err)
		out, err := exec.Command(self, "install", d.Dir, file, when).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: %v %s", when, err, out)
		}
		want := before.Digest
		if when == "switched" {
			b, err := os.ReadFile(filepath.Join(fresh, databaseFile))
			must(t, err)
			want = factory.DigestOf(b)
		}
		whole(d, want)
		db, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "test", fresh, reading)
		must(t, err)
		whole(d, db.Digest)
		for _, name := range names(t, d.Dir) {
			if strings.HasPrefix(name, unfinished) {
				t.Errorf("%s: left behind %s", when, name)
			}
		}
	}
}

// The two moments that no part of an installation can be killed in by itself: moved to its place and not yet current, and
// the new content of current written and not yet renamed.
func TestInstallKilledBetweenRenames(t *testing.T) {
	t.Parallel()
	d := Databases{Dir: t.TempDir()}
	old, fresh := source(t, "CVE-1"), source(t, "CVE-2")
	before, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "test", old, reading)
	must(t, err)
	pointing, err := os.ReadFile(filepath.Join(d.Dir, currentFile))
	must(t, err)
	after, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "test", fresh, reading)
	must(t, err)
	must(t, os.Rename(filepath.Join(d.Dir, currentFile), filepath.Join(d.Dir, unfinished+"123")))
	must(t, os.WriteFile(filepath.Join(d.Dir, currentFile), pointing, 0o600))
	if db, _, err := d.Current(t.Context()); err != nil || db != before {
		t.Errorf("%+v, %v", db, err)
	}
	must(t, d.Verify(t.Context()))
	db, err := d.InstallDir(t.Context(), factory.TrivyDatabase, "test", fresh, reading)
	if err != nil || db != after || len(names(t, d.Dir)) != 4 {
		t.Errorf("%+v, %v, %v", db, err, names(t, d.Dir))
	}
	must(t, d.Verify(t.Context()))
}
