package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// TestServe does what a person does: starts it, asks for a mirror list, changes something, goes away.
func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	commands, in := io.Pipe()
	out, printed := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := serve([]string{"-dir", dir, "-packages", "vim-minimal,less"}, commands, printed)
		printed.CloseWithError(io.EOF)
		ended <- err
	}()
	says := reader{t, out}
	url := says.until(`amazonlinux: (http://\S+)\n`)
	says.until(`move-release, .*\n`)
	for _, path := range []string{"/2/core/latest/x86_64/mirror.list", "/al2023/core/mirrors/latest/x86_64/mirror.list"} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.HasPrefix(string(b), url+"/") {
			t.Errorf("%s: %d %s", path, res.StatusCode, b)
		}
	}
	io.WriteString(in, "\namazon-2023 move-release 2023.9.20260105\namazon-2 tamper nosuch\nsuse tamper bash\nredhat-9 explode\n")
	says.until(`done: amazon-2023 move-release 2023\.9\.20260105\nnot done: .*nosuch.*\nnot done: no such .*\nnot done: no such .*\n`)
	in.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if keys, _ := filepath.Glob(filepath.Join(dir, "*.asc")); len(keys) != 3 {
		t.Errorf("keys: %q", keys)
	}
}

// reader reads what the program prints.
type reader struct {
	t *testing.T
	r io.Reader
}

// until reads to where the text matches, and returns the group.
func (r reader) until(pattern string) string {
	r.t.Helper()
	want, got := regexp.MustCompile(pattern), ""
	for b := make([]byte, 1); ; {
		if _, err := r.r.Read(b); err != nil {
			r.t.Fatalf("%v after %s", err, got)
		}
		got += string(b)
		if m := want.FindStringSubmatch(got); m != nil {
			return append(m, "")[1]
		}
	}
}

func TestServeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		kind error
	}{{nil, factory.ErrInvalid}, {[]string{"-nosuch"}, nil}, {[]string{"-dir", file}, nil}, {[]string{"-dir", t.TempDir(), "-addr", "127.0.0.1:99999"}, nil}} {
		err := serve(test.args, strings.NewReader(""), io.Discard)
		if err == nil || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%q: %v", test.args, err)
		}
	}
}
