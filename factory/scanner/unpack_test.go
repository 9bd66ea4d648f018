package scanner

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imagefactory/imagefactory/factory"
)

// packed is a folder as an archive.
func packed(t *testing.T, dir string) []byte {
	t.Helper()
	var entries []tar.Header
	data := map[string][]byte{}
	for _, name := range []string{databaseFile, metadataFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		entries = append(entries, tar.Header{Name: name, Mode: 0o600})
		data[name] = b
	}
	return archive(t, entries, data)
}

func archive(t *testing.T, entries []tar.Header, data map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data[h.Name]))
		}
		must(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write(data[h.Name])
			must(t, err)
		}
	}
	must(t, w.Close())
	must(t, z.Close())
	return b.Bytes()
}

func TestRefusedArchives(t *testing.T) {
	t.Parallel()
	good := packed(t, source(t, "CVE-1"))
	plain := map[string][]byte{databaseFile: []byte("x"), metadataFile: []byte("[]")}
	both := []tar.Header{{Name: databaseFile}, {Name: metadataFile}}
	with := func(more ...tar.Header) []byte { return archive(t, append(slices.Clone(both), more...), plain) }
	var many []tar.Header
	for i := range maxFiles {
		many = append(many, tar.Header{Name: fmt.Sprint("f", i)})
	}
	bomb := archive(t, []tar.Header{{Name: databaseFile}}, map[string][]byte{databaseFile: make([]byte, 2<<20)})
	var trailing bytes.Buffer // zeros without end, after the archive's end
	z := gzip.NewWriter(&trailing)
	_, err := z.Write(make([]byte, 3<<20))
	must(t, errors.Join(err, z.Close()))
	ours := &factory.Problem{Kind: factory.ErrUnavailable, What: "registry registry.example.com: cut"}

	for name, tc := range map[string]struct {
		r    io.Reader
		kind error
		says string
	}{
		"not gzip":                {strings.NewReader("hello, this is text"), factory.ErrUnverified, "is damaged"},
		"nothing":                 {strings.NewReader(""), factory.ErrUnverified, "EOF"},
		"cut":                     {bytes.NewReader(good[:len(good)-20]), factory.ErrUnverified, "fetch it again"},
		"cut in the last byte":    {bytes.NewReader(good[:len(good)-1]), factory.ErrUnverified, "fetch it again"},
		"a byte of it flipped":    {bytes.NewReader(append(append(slices.Clone(good[:len(good)-8]), good[len(good)-8]^1), good[len(good)-7:]...)), factory.ErrUnverified, "checksum"},
		"more behind it":          {io.MultiReader(bytes.NewReader(good), strings.NewReader("more")), factory.ErrUnverified, "is damaged"},
		"zeros behind it":         {io.MultiReader(bytes.NewReader(good), &trailing), factory.ErrInvalid, "more after its end"},
		"an error at its end":     {io.MultiReader(bytes.NewReader(good), iotest.ErrReader(ours)), factory.ErrUnavailable, "registry.example.com: cut"},
		"a path that climbs":      {bytes.NewReader(with(tar.Header{Name: "../evil"})), factory.ErrInvalid, `may not be called "../evil"`},
		"an absolute path":        {bytes.NewReader(with(tar.Header{Name: "/etc/evil"})), factory.ErrInvalid, `may not be called "/etc/evil"`},
		"a path with a folder":    {bytes.NewReader(with(tar.Header{Name: "db/evil"})), factory.ErrInvalid, "may not be called"},
		"a hidden file":           {bytes.NewReader(with(tar.Header{Name: ".evil"})), factory.ErrInvalid, "may not be called"},
		"our own record":          {bytes.NewReader(with(tar.Header{Name: recordFile})), factory.ErrInvalid, "may not be called"},
		"a link":                  {bytes.NewReader(with(tar.Header{Name: "evil", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})), factory.ErrInvalid, `"evil" is not a plain file`},
		"a hard link":             {bytes.NewReader(with(tar.Header{Name: "evil", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"})), factory.ErrInvalid, "not a plain file"},
		"a device":                {bytes.NewReader(with(tar.Header{Name: "evil", Typeflag: tar.TypeChar})), factory.ErrInvalid, "not a plain file"},
		"a folder":                {bytes.NewReader(with(tar.Header{Name: "evil/", Typeflag: tar.TypeDir})), factory.ErrInvalid, "not a plain file"},
		"a file twice":            {bytes.NewReader(with(tar.Header{Name: "./" + metadataFile})), factory.ErrInvalid, `"metadata.json" twice`},
		"too many files":          {bytes.NewReader(with(many...)), factory.ErrInvalid, "more than 16 files"},
		"a bomb":                  {bytes.NewReader(bomb), factory.ErrInvalid, "larger than a database may be"},
		"no database in it":       {bytes.NewReader(archive(t, both[1:], plain)), factory.ErrInvalid, "has not both trivy.db and metadata.json"},
		"no metadata in it":       {bytes.NewReader(archive(t, both[:1], plain)), factory.ErrInvalid, "has not both"},
		"a database that is none": {bytes.NewReader(with()), factory.ErrUnverified, "factory db update"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			d := Databases{Dir: filepath.Join(parent, "db"), MaxBytes: 1 << 20}
			_, err := d.InstallArchive(t.Context(), factory.TrivyDatabase, "test", tc.r, reading)
			if !errors.Is(err, tc.kind) || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Error(err)
			}
			if got := names(t, d.Dir); !slices.Equal(got, []string{".lock"}) || len(names(t, parent)) != 1 {
				t.Errorf("left behind: %v, %v", got, names(t, parent))
			}
		})
	}
	dotted := archive(t, []tar.Header{{Name: "./", Typeflag: tar.TypeDir}, {Name: "./" + databaseFile}, {Name: "./" + metadataFile}}, map[string][]byte{"./" + databaseFile: []byte("x"), "./" + metadataFile: []byte(`{"Kind":"trivy","Length":1}`)})
	if _, err := (Databases{Dir: t.TempDir()}).InstallArchive(t.Context(), factory.TrivyDatabase, "test", bytes.NewReader(dotted), reading); err != nil {
		t.Errorf("as tar writes a folder: %v", err)
	}
}

func TestRefusedFolders(t *testing.T) {
	t.Parallel()
	d := Databases{Dir: t.TempDir()}
	stopped, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped by the user"))
	linked := source(t, "CVE-1")
	must(t, os.Symlink("/etc/passwd", filepath.Join(linked, "passwd")))
	for name, tc := range map[string]struct {
		ctx   context.Context
		kind  factory.DatabaseKind
		dir   string
		check CheckFunc
		want  error
		says  string
	}{
		"no folder":    {t.Context(), factory.TrivyDatabase, filepath.Join(t.TempDir(), "none"), reading, factory.ErrNotFound, "database folder"},
		"empty folder": {t.Context(), factory.TrivyDatabase, t.TempDir(), reading, factory.ErrInvalid, "has not both"},
		"a link":       {t.Context(), factory.TrivyDatabase, linked, reading, factory.ErrInvalid, `"passwd" is not a plain file`},
		"another kind": {t.Context(), factory.ArchiveDatabase, source(t, "CVE-1"), reading, factory.ErrUnverified, `is of kind "trivy" instead of "archive"`},
		"stopped":      {stopped, factory.TrivyDatabase, source(t, "CVE-1"), reading, nil, "stopped by the user"},
		"a rough check": {t.Context(), factory.TrivyDatabase, source(t, "CVE-1"), func(ctx context.Context, dir string) (factory.Database, error) {
			flip(t, filepath.Join(dir, databaseFile))
			return reading(ctx, dir)
		}, factory.ErrUnverified, "other content than was installed"},
	} {
		_, err := d.InstallDir(tc.ctx, tc.kind, "test", tc.dir, tc.check)
		if tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(fmt.Sprint(err), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
		if got := names(t, d.Dir); !slices.Equal(got, []string{".lock"}) {
			t.Errorf("%s: left behind %v", name, got)
		}
	}
}
