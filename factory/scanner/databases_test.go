package scanner

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// flip changes one byte and nothing that can be seen from outside but the time of change.
func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	b[0] ^= 1
	must(t, os.Chmod(file, 0o600))
	must(t, os.WriteFile(file, b, 0o600))
}

func TestInstalledDatabaseChanges(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(t *testing.T, dir string)
		says    string // of Current; empty = it does not notice
		verify  string // of Verify
		current bool   // Current has nothing to complain of
	}{
		"a byte": {func(t *testing.T, dir string) { flip(t, filepath.Join(dir, databaseFile)) }, "other content", "other content", false},
		"a byte, with the old time": {func(t *testing.T, dir string) {
			info, err := os.Stat(filepath.Join(dir, databaseFile))
			must(t, err)
			flip(t, filepath.Join(dir, databaseFile))
			must(t, os.Chtimes(filepath.Join(dir, databaseFile), info.ModTime(), info.ModTime()))
		}, "", "other content", true},
		"truncated": {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, databaseFile), 10)) }, "has 10 bytes instead of", "has 10 bytes", false},
		"gone":      {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, metadataFile))) }, "no such file", "no such file", false},
		"a link": {func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, databaseFile), filepath.Join(dir, "elsewhere")))
			must(t, os.Symlink("elsewhere", filepath.Join(dir, databaseFile)))
		}, "not a plain file", "not a plain file", false},
		"touched":            {func(t *testing.T, dir string) { must(t, os.Chtimes(filepath.Join(dir, databaseFile), today, today)) }, "", "", true},
		"the record is gone": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, recordFile))) }, "no such file", "no such file", false},
		"the record is of another": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, recordFile), []byte(`{"digest":"sha256:`+strings.Repeat("0", 64)+`","files":[]}`), 0o600))
		}, "not about this database", "not about this database", false},
		"the record leads elsewhere": {func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, recordFile))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, recordFile), bytes.Replace(b, []byte(`"metadata.json"`), []byte(`"../current"`), 1), 0o600))
		}, "its record names the file", "its record names the file", false},
		"current leads elsewhere": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(filepath.Dir(dir), currentFile), []byte(`{"current":"../../etc"}`), 0o600))
		}, "does not name a database", "does not name a database", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Databases{Dir: t.TempDir()}
			from := source(t, "CVE-1")
			_, err := d.InstallDir(t.Context(), factory.TrivyDatabase, from, from, reading)
			must(t, err)
			_, dir, err := d.Current(t.Context())
			must(t, err)
			tc.change(t, dir)
			_, _, err = d.Current(t.Context())
			if tc.current && err != nil || !tc.current && (!errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "factory db")) {
				t.Errorf("current: %v", err)
			}
			if err := d.Verify(t.Context()); (err == nil) != (tc.verify == "") || !strings.Contains(fmt.Sprint(err), tc.verify) {
				t.Errorf("verify: %v", err)
			}
			// Whatever it was, installing again mends it.
			_, err = d.InstallDir(t.Context(), factory.TrivyDatabase, from, from, reading)
			must(t, err)
			must(t, d.Verify(t.Context()))
		})
	}
}

func TestInPlace(t *testing.T) {
	t.Parallel()
	dir := source(t, "CVE-1")
	before := names(t, dir)
	db, err := InPlace(t.Context(), dir, reading)
	b, rerr := os.ReadFile(filepath.Join(dir, databaseFile))
	must(t, rerr)
	if err != nil || db.Digest != factory.DigestOf(b) || db.Origin != dir || db.Kind != factory.TrivyDatabase || !slices.Equal(names(t, dir), before) {
		t.Errorf("%+v, %v", db, err)
	}
	if _, err := InPlace(t.Context(), t.TempDir(), reading); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("empty: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, metadataFile)))
	if _, err := InPlace(t.Context(), dir, reading); !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("without metadata: %v", err)
	}
}
