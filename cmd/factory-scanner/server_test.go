package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"
)

func TestHello(t *testing.T) {
	c := converse(t)
	got := c.must(scanner.Request{Op: scanner.Hello}).Hello
	if got.Name != "trivy" || got.Protocol != scanner.ProtocolVersion || got.Schema != 2 || len(got.Databases) != 2 {
		t.Errorf("got %+v", got)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil || !bytes.Contains(mod, []byte("github.com/aquasecurity/trivy v"+got.Version+"\n")) {
		t.Errorf("go.mod has another Trivy than %s: %v", got.Version, err)
	}
	c.refused(scanner.Request{Op: "dance"}, "invalid", `"dance"`)
}

// Requests are worked on side by side, and each gets its own answer.
func TestManyRequests(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	want := map[uint64]int{}
	first := c.id + 1
	for i := range 60 {
		want[first+uint64(i)] = i % 7
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range 60 {
			c.send(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(i % 7)})
		}
	}()
	for range 60 {
		r := c.receive()
		packages, ok := want[r.ID]
		if !ok || r.Error != nil || r.Result.Packages != packages {
			t.Errorf("%d: %+v %+v", r.ID, r.Error, r.Result)
		}
		delete(want, r.ID)
	}
	<-sent
}

func TestConversationsThatEnd(t *testing.T) {
	for name, in := range map[string][]byte{
		"in the middle of a frame": {0, 0, 0, 9, '{'},
		"in the middle of a head":  {0, 0},
		"with no JSON":             {0, 0, 0, 1, 'x'},
		"with a frame too long":    binary.BigEndian.AppendUint32(nil, scanner.MaxFrame+1),
	} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"serve"}, bytes.NewReader(in), &stdout, &stderr); code != exitFault || !strings.HasPrefix(stderr.String(), "factory-scanner: reading a request: ") {
			t.Errorf("%s: %d %s", name, code, stderr.String())
		}
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]struct {
		code           int
		stdout, stderr string
	}{
		"":             {exitUsage, "", "is no command"},
		"scan":         {exitUsage, "", "Usage:"},
		"serve please": {exitUsage, "", "Usage:"},
		"--help":       {exitOK, "Usage:", ""},
		"--version":    {exitOK, "Trivy " + trivyVersion + ", protocol 2", ""},
	} {
		var stdout, stderr bytes.Buffer
		code := run(strings.Fields(args), strings.NewReader(""), &stdout, &stderr)
		if code != want.code || !strings.Contains(stdout.String(), want.stdout) || !strings.Contains(stderr.String(), want.stderr) || (want.code == exitOK) != (stderr.Len() == 0) {
			t.Errorf("%q: %d %s%s", args, code, stdout.String(), stderr.String())
		}
	}
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want scanner.Fault
	}{
		{errors.New("disk\n full"), scanner.Fault{Kind: "unexpected", What: "disk full"}},
		{&factory.Problem{Kind: factory.ErrNotFound, What: "no x", Hint: "make x", Cause: errors.New("y")}, scanner.Fault{Kind: "not found", What: "no x: y", Hint: "make x"}},
		{fmt.Errorf("a: %w", &factory.Problem{Kind: factory.ErrUnavailable, What: "b"}), scanner.Fault{Kind: "unavailable", What: "b"}},
		{errors.New(strings.Repeat("é", 1000)), scanner.Fault{Kind: "unexpected", What: strings.Repeat("é", 500) + " ..."}},
	} {
		if got := *faultOf(tc.err); got != tc.want {
			t.Errorf("got %+v, want %+v", got, tc.want)
		}
	}
}

// A mistake of the program is an answer, too, and is not blamed on the database.
func TestPanics(t *testing.T) {
	var s *server
	if r := s.answer(scanner.Request{ID: 7, Op: scanner.SBOM}); r.ID != 7 || r.Error == nil || r.Error.Kind != "unexpected" || !strings.Contains(r.Error.What, "factory-scanner") {
		t.Errorf("got %+v", r.Error)
	}
	_, err := guarded(nil, func() (int, error) { panic("mistake") })
	if _, blamed := errors.AsType[*fault](err); blamed || !strings.Contains(err.Error(), "mistake") {
		t.Errorf("got %v", err)
	}
	if got := culprit([]byte("nothing")); got != "somewhere" {
		t.Errorf("got %s", got)
	}
}

// A reply that is too long for a frame says so.
func TestLongReply(t *testing.T) {
	var b bytes.Buffer
	s := newServer(1)
	s.reply(&b, scanner.Reply{ID: 3, Result: &scanner.Result{SPDX: make([]byte, scanner.MaxFrame)}})
	var got scanner.Reply
	if err := scanner.ReadFrame(&b, &got); err != nil || got.ID != 3 || got.Error == nil || !strings.Contains(got.Error.What, "at most") {
		t.Errorf("%+v, %v", got, err)
	}
}

// Nothing of the environment stays, and nothing that is written.
func TestIsolate(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("TMPDIR", parent)
	t.Setenv("SECRET", "x")
	if err := syscall.Mkfifo(filepath.Join(parent, "factory-scanner-x"), 0o600); err != nil { // of somebody else
		t.Fatal(err)
	}
	environment := os.Environ()
	defer func() {
		for _, e := range environment {
			name, value, _ := strings.Cut(e, "=")
			os.Setenv(name, value)
		}
	}()
	leave, err := isolate()
	if err != nil {
		t.Fatal(err)
	}
	if env := os.Environ(); len(env) != 1 || !strings.HasPrefix(env[0], "TMPDIR="+filepath.Join(parent, "factory-scanner-")) {
		t.Errorf("the environment is %v", env)
	}
	if err := os.WriteFile(filepath.Join(os.TempDir(), "file"), nil, 0o600); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(parent, "*")); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
	leave()
	if left, _ := filepath.Glob(filepath.Join(parent, "*")); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	os.Setenv("TMPDIR", filepath.Join(parent, "none"))
	if _, err := isolate(); err == nil {
		t.Error("there is no folder for temporary files, and nobody minds")
	}
}

// program starts the built program, in a network namespace without a network where that is allowed.
func program(t *testing.T, tmp string) (*talk, *exec.Cmd) {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "serve")
	cmd.Env = []string{"TMPDIR=" + tmp, "HTTP_PROXY=http://proxy.example.com", "HOME=" + tmp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &talk{t: t, in: in, out: out}, cmd
}

// TestProgram tells the story with the program itself: no network, no environment, nothing left, nothing changed.
func TestProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program")
	}
	tmp, dir := t.TempDir(), t.TempDir()
	c, cmd := program(t, tmp)
	c.must(scanner.Request{Op: scanner.Build, Dir: dir, Advisories: []factory.Advisories{advisories()}})
	before, err := os.ReadFile(filepath.Join(dir, "trivy.db"))
	if err != nil {
		t.Fatal(err)
	}
	c.must(scanner.Request{Op: scanner.Open, Dir: dir})
	req := makeImage(t, debianFiles(t))
	got := c.must(req).Result
	if len(got.Findings) != 4 {
		t.Errorf("got %+v", got)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	if err == nil && bytes.Contains(environ, []byte("SECRET")) {
		t.Errorf("the environment is %q", environ)
	}
	if err := errors.Join(c.in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "trivy.db")); !bytes.Equal(before, after) {
		t.Error("the database was changed")
	}

	// Killed, it leaves what it had to whoever started it; its successor says the same of the image.
	c, cmd = program(t, t.TempDir())
	c.must(scanner.Request{Op: scanner.Open, Dir: dir})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	c, cmd = program(t, tmp)
	c.must(scanner.Request{Op: scanner.Open, Dir: dir})
	if again := c.must(req).Result; !bytes.Equal(again.CycloneDX, got.CycloneDX) || !bytes.Equal(again.SPDX, got.SPDX) {
		t.Error("another process makes other SBOMs")
	}
	// Cut short under a running program: a fault, and the program lives.
	if err := os.Truncate(filepath.Join(dir, "trivy.db"), 4096); err != nil {
		t.Fatal(err)
	}
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: got.CycloneDX}, "unverified", update)
	c.refused(scanner.Request{Op: scanner.Check, Dir: dir}, "unverified", update)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	c.must(scanner.Request{Op: scanner.SBOM, SBOM: got.CycloneDX})
	if err := errors.Join(c.in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
