package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

var update = flag.Bool("update", false, "write the golden files")

func at(seconds float64) time.Time {
	return time.Date(2026, 11, 23, 14, 2, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// night is a recording with everything in it.
var night = []factory.Event{
	{Time: at(0), Kind: factory.Noted, Message: "2 images, 2 to rebuild"},
	{Time: at(1), Kind: factory.Began, Image: "debian-12", Step: factory.StepBuild},
	{Time: at(1), Kind: factory.Began, Image: "debian-13-slim", Step: factory.StepResolve, Message: "3 archives"},
	{Time: at(2), Kind: factory.Advanced, Image: "debian-12", Step: factory.StepBuild, Current: 62, Total: 138, Unit: "packages", Message: "bash 5.2"},
	{Time: at(3.5), Kind: factory.Advanced, Image: "debian-13-slim", Step: factory.StepResolve, Current: 12 << 20, Total: 96 << 20, Unit: "bytes"},
	{Time: at(4), Kind: factory.Warned, Image: "debian-13-slim", Step: factory.StepResolve, Message: "mirror is slow"},
	{Time: at(12), Kind: factory.Advanced, Image: "debian-12", Step: factory.StepBuild, Current: 138, Total: 138, Unit: "packages"},
	{Time: at(13), Kind: factory.Finished, Image: "debian-12", Step: factory.StepBuild, Seconds: 12.04, Message: "41.2 MiB"},
	{Time: at(14), Kind: factory.Began, Image: "debian-12", Step: factory.StepTest},
	{Time: at(15), Kind: factory.Noted, Image: "debian-12", Message: "evil\r\n14:02:15 debian-12 test  done\x1b[2J\x1b]0;title\x07 \u202eabc\x9b31m\x00"},
	{Time: at(16), Kind: factory.Advanced, Image: "debian-12", Step: factory.StepTest, Current: 7},
	{Time: at(75), Kind: factory.Broke, Image: "debian-13-slim", Step: factory.StepResolve, Seconds: 74, Message: "archive debian: hash mismatch"},
	{Time: at(75), Kind: factory.Finished, Image: "debian-12", Step: factory.StepTest, Seconds: 0.52},
	{Kind: factory.Noted, Message: "without a time"},
}

// replay shows events one by one, each drawn before the next comes.
func replay(t *testing.T, mode Mode, width int, noColor bool, events []factory.Event) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		r := New(&out, mode, width, noColor)
		for _, e := range events {
			r.Events().Emit(e)
			synctest.Wait()
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		r.Events().Emit(factory.Event{Kind: factory.Noted, Message: "after the end"})
	})
	return out.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode    Mode
		width   int
		noColor bool
	}{
		"plain":  {Auto, 0, false},
		"json":   {JSON, 0, false},
		"tty":    {TTY, 72, true},
		"narrow": {TTY, 30, true},
		"color":  {TTY, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := replay(t, tc.mode, tc.width, tc.noColor, night)
			visible := strings.ReplaceAll(got, "\x1b", "␛")
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(visible), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if visible != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s\n(go test -update writes it)", visible, want)
			}
		})
	}
}

func TestTerminalKeepsWhatHappened(t *testing.T) {
	t.Parallel()
	got := replay(t, TTY, 60, true, night)
	var screen []string
	for line := range strings.Lines(got) {
		for {
			rest, found := strings.CutPrefix(line, "\x1b[")
			if !found {
				break
			}
			up, after, _ := strings.Cut(rest, "A\x1b[J")
			var n int
			if _, err := fmt.Sscan(up, &n); err != nil || n > len(screen) {
				t.Fatalf("erases %q of %d lines", up, len(screen))
			}
			screen, line = screen[:len(screen)-n], after
		}
		if strings.ContainsRune(line, '\x1b') {
			t.Errorf("an escape within %q", line)
		}
		screen = append(screen, strings.TrimSuffix(line, "\n"))
	}
	if last := screen[len(screen)-1]; last != "" {
		screen = append(screen, "")
	}
	want := []string{
		"14:02:00  2 images, 2 to rebuild",
		"14:02:04 debian-13-slim resolve  warning: mirror is slow",
		"14:02:13 debian-12 build  done in 12 s: 41.2 MiB",
		"14:02:15 debian-12  evil  14:02:15 debian-12 test  done \uFFFDabc\uFFFD31m\uFFFD",
		"14:03:15 debian-13-slim resolve  failed after 1 min 14 s: archive debian: hash mismatch",
		"14:03:15 debian-12 test  done in 0.5 s",
		"  without a time", "",
	}
	if strings.Join(screen, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(screen, "\n"), strings.Join(want, "\n"))
	}
}

func TestLiveLinesAreLimited(t *testing.T) {
	t.Parallel()
	v := &ttyView{width: 40}
	for i := range 20 {
		v.event(factory.Event{Kind: factory.Began, Image: fmt.Sprintf("image-%02d-界界界界界界界界界界界界界界界界界界", i), Step: factory.StepBuild})
	}
	lines := v.live()
	if len(lines) != maxLive+1 || lines[maxLive] != "  and 8 more" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
	if cells := len("  image-00-") + 2*strings.Count(lines[0], "界"); cells > 39 {
		t.Errorf("%q takes %d columns", lines[0], cells)
	}
}

func TestJSONCannotBeForged(t *testing.T) {
	t.Parallel()
	events := append([]factory.Event{{Kind: factory.Noted, Message: "a\n{\"kind\":\"done\"}\u2028", Seconds: 1}, {Kind: factory.Noted, Seconds: math.NaN()}}, night...)
	out := replay(t, JSON, 0, false, events)
	dec := json.NewDecoder(strings.NewReader(out))
	n := 0
	for ; ; n++ {
		var e factory.Event
		err := dec.Decode(&e)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != len(events) || strings.Count(out, "\n") != n {
		t.Errorf("%d objects, %d lines for %d events", n, strings.Count(out, "\n"), len(events))
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]Mode{"auto": {Plain, TTY}, "tty": {TTY, TTY}, "plain": {Plain, Plain}, "json": {JSON, JSON}} {
		m, err := ParseMode(s)
		if err != nil || m.For(false) != want[0] || m.For(true) != want[1] {
			t.Errorf("%s: %v, %v, %v", s, m.For(false), m.For(true), err)
		}
	}
	if _, err := ParseMode("fancy"); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{0.04: "0.0 s", 7.24: "7.2 s", 9.96: "10 s", 59.4: "59 s", 59.6: "1 min 00 s", 3725: "62 min 05 s", math.Inf(1): "ages"} {
		if got := duration(seconds); got != want {
			t.Errorf("%v: got %q, want %q", seconds, got, want)
		}
	}
}

type broken struct{ writes int }

func (b *broken) Write([]byte) (int, error) { b.writes++; return 0, io.ErrClosedPipe }

func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &broken{}
		r := New(w, Plain, 0, true)
		for range 5 {
			r.Events().Emit(factory.Event{Kind: factory.Noted, Message: "x"})
			synctest.Wait()
		}
		if err := r.Close(); !errors.Is(err, io.ErrClosedPipe) || w.writes != 1 {
			t.Errorf("%d writes, %v", w.writes, err)
		}
	})
}

type stuck struct{ release chan struct{} }

func (s stuck) Write(b []byte) (int, error) { <-s.release; return len(b), nil }

func TestStuckReaderHoldsNothingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := stuck{make(chan struct{})}
		defer close(w.release)
		r := New(w, Plain, 0, true)
		for range 3 * maxPending {
			r.Events().Emit(factory.Event{Kind: factory.Noted, Message: "x"})
		}
		if err := r.Close(); err == nil || len(r.pending) > maxPending {
			t.Errorf("%d lines kept, %v", len(r.pending), err)
		}
	})
}

func TestSlowReaderIsToldWhatItMissed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		r := New(gated{&out, gate}, Plain, 0, true)
		r.Events().Emit(factory.Event{Kind: factory.Noted, Message: "first"})
		synctest.Wait()
		for range maxPending + 5 {
			r.Events().Emit(factory.Event{Kind: factory.Noted, Message: "x"})
		}
		close(gate)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if !strings.HasSuffix(out.String(), "(5 lines left out, the output was too slow)\n") {
		t.Errorf("ends in %.80q", out.String()[out.Len()-80:])
	}
}

type gated struct {
	io.Writer
	gate chan struct{}
}

func (g gated) Write(b []byte) (int, error) { <-g.gate; return g.Writer.Write(b) }

func TestConcurrentEvents(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := New(&out, TTY, 0, true)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			image := fmt.Sprint("image-", i)
			for n := range 100 {
				r.Events().Emit(factory.Event{Time: at(float64(n)), Kind: factory.Advanced, Image: image, Step: factory.StepBuild, Current: int64(n), Total: 100})
			}
			r.Events().Emit(factory.Event{Kind: factory.Finished, Image: image, Step: factory.StepBuild})
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil || strings.Count(out.String(), "build  done") != 8 {
		t.Errorf("%d done, %v", strings.Count(out.String(), "build  done"), err)
	}
}

// FuzzClean: no text takes more than a line or carries anything that a terminal obeys.
func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31mred\x1b[0m\r\n\x9b2J\u2028\u202e\x7f")
	f.Add("\x1b\x1b[[31m31m" + strings.Repeat("é", 3000))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		for _, r := range got {
			if r < ' ' || r >= 0x7f && r <= 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q kept %q", s, r)
			}
		}
		if clean(got) != got && len(got) < maxMessage {
			t.Errorf("%q is not stable", got)
		}
	})
}
