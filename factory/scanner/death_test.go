package scanner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// A request that its scanner does not survive is tried again, once; neighbours never notice.
func TestDeaths(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pkg  fakePackage
		says string // empty = it comes through
	}{
		"killed once":                  {fakePackage{"!once", "!kill"}, ""},
		"killed always":                {fakePackage{"!kill", ""}, "died: killed"},
		"panics once":                  {fakePackage{"!once", "!panic"}, ""},
		"panics always":                {fakePackage{"!panic", ""}, "ended: exit 2: panic: index out of range"},
		"exits always":                 {fakePackage{"!exit", ""}, "ended: exit 7: a line; the disk is on fire"},
		"answers garbage once":         {fakePackage{"!once", "!garbage"}, ""},
		"answers garbage":              {fakePackage{"!garbage", ""}, "does not speak the protocol: "},
		"answers without end":          {fakePackage{"!huge", ""}, "message of 4294967295 bytes"},
		"dies in the middle":           {fakePackage{"!half", ""}, "ended: exit 0"},
		"answers what nobody asked":    {fakePackage{"!wrong-id", ""}, "request 4711, which is not open"},
		"answers without a result":     {fakePackage{"!empty", ""}, `an answer to "sbom" without what was asked for`},
		"leaves a child":               {fakePackage{"!child", ""}, "ended: exit 9"},
		"leaves a child that escapes":  {fakePackage{"!child", "escapes"}, "ended: exit 9"},
		"leaves a child behind, once":  {fakePackage{"!once", "!child"}, ""},
		"a hostile name does not help": {fakePackage{"!once", "!exit"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(t)
			var seen watched
			c.Events = seen.add
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})})
					if err != nil || len(s.Findings) != 1 {
						t.Errorf("a neighbour: %s, %v", keys(s), err)
					}
				})
			}
			s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"}, tc.pkg)})
			wg.Wait()
			if tc.says == "" && (err != nil || len(s.Findings) != 1) {
				t.Errorf("%s, %v", keys(s), err)
			}
			if tc.says != "" && (!errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%v", err)
			}
			if w := seen.text(factory.Warned); !strings.Contains(w, "match SBOM linux/amd64: the scanner ") || !strings.Contains(w, "trying again") {
				t.Errorf("warnings %q", w)
			}
			if s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})}); err != nil || len(s.Findings) != 1 {
				t.Errorf("afterwards: %s, %v", keys(s), err)
			}
		})
	}
}

func TestStartThatGoesWrong(t *testing.T) {
	t.Parallel()
	for mode, says := range map[string]string{
		"exit":    "does not start: the scanner ended: exit 3: no, [31mnot today[0m (make build",
		"garbage": "does not start: the scanner does not speak the protocol: message of 1433624935 bytes",
		"hang":    "waited 100ms for the answer to: say hello",
		"deaf":    "waited 100ms for the answer to: say hello",
		"old":     "speaks protocol 7, and this program 2 (make build",
		"rude":    "say hello: no disk space (make some)",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := closing(t, &Client{Program: program(t, mode), StartTimeout: time.Minute, Temp: t.TempDir()})
			if mode == "hang" || mode == "deaf" {
				c.StartTimeout = 100 * time.Millisecond
			}
			_, err := c.Open(t.Context(), testDatabase(t), factory.Database{})
			if !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), says) {
				t.Error(err)
			}
			if _, err := c.Check(t.Context(), testDatabase(t)); !errors.Is(err, factory.ErrUnavailable) {
				t.Errorf("check: %v", err)
			}
			if left, err := os.ReadDir(c.Temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	for _, missing := range []string{"", filepath.Join(t.TempDir(), "factory-scanner"), "no-such-scanner-anywhere"} {
		_, err := (&Client{Program: missing}).Hello(t.Context())
		if !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "make build") {
			t.Errorf("%q: %v", missing, err)
		}
	}
	if _, err := (&Client{Program: program(t, ""), Temp: filepath.Join(t.TempDir(), "none")}).Hello(t.Context()); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("no place for temporary files: %v", err)
	}
	text := filepath.Join(t.TempDir(), "factory-scanner")
	must(t, os.WriteFile(text, []byte("not a program"), 0o700))
	if _, err := (&Client{Program: text}).Hello(t.Context()); err == nil || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("not a program: %v", err)
	}
}

// A scanner that hangs is ended. The request is an error that says what was waited for; neighbours are asked again.
func TestTimeout(t *testing.T) {
	t.Parallel()
	c := client(t)
	c.Timeout = 300 * time.Millisecond
	released := make(chan error, 1)
	go func() {
		s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{Name: "!once", Version: "!hang"}, fakePackage{"zlib", "1"})})
		if err == nil && len(s.Findings) != 1 {
			err = errors.New(keys(s))
		}
		released <- err
	}()
	_, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{Name: "!hang"})})
	other := <-released
	const waited = "waited 300ms for the answer to: match SBOM linux/amd64"
	// Whichever was asked first is overdue first; the other one is tried again.
	if !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), waited) {
		t.Errorf("hangs always: %v", err)
	}
	if other != nil && !strings.Contains(other.Error(), waited) {
		t.Errorf("hangs once: %v", other)
	}
	if s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})}); err != nil || len(s.Findings) != 1 {
		t.Errorf("afterwards: %s, %v", keys(s), err)
	}
}

// A request that nobody waits for any more, and that is stuck, does not stay for ever.
func TestAbandonedRequestIsEnded(t *testing.T) {
	t.Parallel()
	c := client(t)
	c.Timeout = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	before := c.live
	go func() {
		for { // until it is asked
			before.mu.Lock()
			n := len(before.calls)
			before.mu.Unlock()
			if n > 0 {
				cancel()
				return
			}
		}
	}()
	if _, err := c.Match(ctx, []factory.Document{sbom(fakePackage{Name: "!hang"})}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-before.done
	if s, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{"zlib", "1"})}); err != nil || len(s.Findings) != 1 {
		t.Errorf("afterwards: %s, %v", keys(s), err)
	}
}

func TestCloseWhileBusy(t *testing.T) {
	t.Parallel()
	c := client(t)
	done := make(chan error)
	asked := c.live
	go func() {
		_, err := c.Match(t.Context(), []factory.Document{sbom(fakePackage{Name: "!hang"})})
		done <- err
	}()
	for n := 0; n == 0; {
		asked.mu.Lock()
		n = len(asked.calls)
		asked.mu.Unlock()
	}
	c.Grace = 50 * time.Millisecond
	must(t, c.Close())
	if err := <-done; !errors.Is(err, errClosed) {
		t.Error(err)
	}
	lingers := &Client{Program: program(t, "lingers"), Grace: 50 * time.Millisecond}
	_, err := lingers.Hello(t.Context())
	must(t, err)
	must(t, lingers.Close())
	if !lingers.live.over() {
		t.Error("it still runs")
	}
}

// useForEver is a factory that gets killed: it starts a scanner, says where that runs, and stays.
func useForEver(program string) {
	c := &Client{Program: program, Temp: filepath.Dir(program), Events: func(e factory.Event) { fmt.Fprintln(os.Stderr, e.Message) }}
	if _, err := c.Check(context.Background(), "nowhere"); !errors.Is(err, factory.ErrUnverified) {
		panic(err)
	}
	if _, err := c.Hello(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(c.live.program.cmd.Process.Pid)
	select {}
}

// use starts that factory and returns the scanner's process id.
func use(t *testing.T, path string, stderr *bytes.Buffer) (f *exec.Cmd, pid int) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	f = exec.Command(self, "use", path)
	f.Stderr = stderr
	out, err := f.StdoutPipe()
	must(t, err)
	must(t, f.Start())
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
	return f, pid
}

func TestTheScannerDoesNotOutliveTheFactory(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	path := program(t, "lingers")
	f, pid := use(t, path, &stderr)
	scanner, err := os.FindProcess(pid) // by a handle, so that it cannot become another
	must(t, err)
	must(t, f.Process.Kill())
	_ = f.Wait()
	// It is not our child: its folder in /proc goes, or says that it is a zombie of whoever adopted it.
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for alive := true; alive; {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		alive = err == nil && !strings.Contains(string(b), ") Z ")
		if deadline.Err() != nil {
			_ = scanner.Kill()
			t.Fatal("the scanner lives on")
		}
	}
	folders := func() []string {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(path), tempPrefix+"*"))
		must(t, err)
		return found
	}
	if len(folders()) != 1 {
		t.Errorf("folders for temporary files: %v", folders())
	}
	next := &Client{Program: program(t, ""), Temp: filepath.Dir(path)}
	_, err = next.Hello(t.Context())
	must(t, err)
	if own := folders(); len(own) != 1 || own[0] != next.live.program.temp {
		t.Errorf("the next scanner leaves %v", own)
	}
	_, err = next.Check(t.Context(), testDatabase(t)) // takes nothing away from the one that runs
	must(t, err)
	if own := folders(); len(own) != 1 {
		t.Errorf("with another one: %v", own)
	}
	must(t, next.Close())
	if len(folders()) != 0 {
		t.Errorf("left behind: %v", folders())
	}
}

// Without the right to take the network away the scanner runs all the same, and that is said once.
func TestWithoutTheRightToTakeTheNetworkAway(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	const capbsetDrop, sysAdmin = 24, 21
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, capbsetDrop, sysAdmin, 0) // who may not drop it does not have it
	var stderr bytes.Buffer
	f, _ := use(t, program(t, ""), &stderr)
	must(t, f.Process.Kill())
	_ = f.Wait()
	if strings.Count(stderr.String(), "a network of its own is not allowed here") != 1 {
		t.Errorf("said %q", stderr.String())
	}
}
