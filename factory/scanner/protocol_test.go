package scanner

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imagefactory/imagefactory/factory"
)

func frames(t testing.TB, messages ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, m := range messages {
		if err := WriteFrame(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestFrames(t *testing.T) {
	t.Parallel()
	request := Request{ID: 1, Op: Image, Layout: "/layout", Digest: factory.DigestOf(nil), Name: "debian-12", Platform: &amd64, SBOM: []byte{0, 255}}
	reply := Reply{ID: 1, Result: &Result{Distro: "debian 12", Packages: 3, Findings: []factory.Finding{{Vulnerability: "CVE-1", Package: "p", Severity: factory.High}}}}
	r := iotest.OneByteReader(bytes.NewReader(frames(t, request, reply)))
	var gotRequest Request
	var gotReply Reply
	if err := errors.Join(ReadFrame(r, &gotRequest), ReadFrame(r, &gotReply)); err != nil || !reflect.DeepEqual(gotRequest, request) || !reflect.DeepEqual(gotReply, reply) {
		t.Errorf("%+v, %+v, %v", gotRequest, gotReply, err)
	}
	if err := ReadFrame(r, &gotReply); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		r    io.Reader
		says string
	}{
		"half a length":   {strings.NewReader("\x00\x00"), "unexpected EOF"},
		"half a message":  {strings.NewReader("\x00\x00\x00\x02{"), "unexpected EOF"},
		"too long":        {strings.NewReader("\x10\x00\x00\x01"), "message of 268435457 bytes, at most 268435456"},
		"not JSON":        {strings.NewReader("\x00\x00\x00\x02[}"), "invalid character"},
		"a reader breaks": {io.MultiReader(strings.NewReader("\x00\x00\x00\x02"), iotest.ErrReader(broken)), "broken"},
	} {
		if err := ReadFrame(tc.r, &gotReply); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := encodeFrame("12345", 6); err == nil || !strings.Contains(err.Error(), "message of 7 bytes, at most 6") {
		t.Errorf("too long: %v", err)
	}
	if err := WriteFrame(io.Discard, func() {}); err == nil {
		t.Error("a function was written")
	}
}

// Whatever arrives, a reader neither panics nor takes more than the frame, and what it accepts can be written again.
func FuzzReadFrame(f *testing.F) {
	f.Add(frames(f, Reply{ID: 7, Hello: &Greeting{Name: "trivy", Version: "0.74.0", Protocol: 1}}))
	f.Add(frames(f, Reply{ID: 8, Error: &Fault{Kind: "invalid", What: "no"}}, Reply{ID: 9, Database: &factory.Database{Kind: factory.TrivyDatabase, Updated: today}}))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x04null"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		var reply Reply
		if err := ReadFrame(in, &reply); err != nil {
			return
		}
		n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
		if in.Len() != len(b)-4-n {
			t.Errorf("a message of %d bytes took %d", n, len(b)-4-in.Len())
		}
		var again Reply
		if err := ReadFrame(bytes.NewReader(frames(t, reply)), &again); err != nil {
			t.Errorf("%+v: %v", reply, err)
		}
		first, _ := json.Marshal(reply)
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s became %s, %v", first, second, err)
		}
		_ = reply.answers(Image)
	})
}

// What is written is read again.
func FuzzWriteFrame(f *testing.F) {
	f.Add(uint64(1), "sbom", "/some/folder", []byte("{}"))
	f.Add(uint64(0), "", "\x00\xff", []byte(nil))
	f.Fuzz(func(t *testing.T, id uint64, op, dir string, sbom []byte) {
		want := Request{ID: id, Op: Op(strings.ToValidUTF8(op, "?")), Dir: strings.ToValidUTF8(dir, "?"), SBOM: sbom}
		b, err := encodeFrame(want, MaxFrame)
		if err != nil {
			t.Fatal(err)
		}
		var got Request
		if err := ReadFrame(bytes.NewReader(b), &got); err != nil || got.ID != id || got.Op != want.Op || got.Dir != want.Dir || !bytes.Equal(got.SBOM, sbom) {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
		if err := ReadFrame(bytes.NewReader(b[:len(b)-1]), &got); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut: %v", err)
		}
	})
}

func TestLastWords(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 1000)
	stack := strings.Repeat("main.f(0xc000)\n\t/src/main.go:1\n", 10_000)
	for said, want := range map[string]string{
		"":                           "",
		"one":                        "one",
		"one\r\ntwo\n\n three\nfour": "two; three; four",
		"\x1b[2Jcleared\x00\xff\n":   "[2Jcleared",
		long:                         strings.Repeat("ä", 150),
		"note\npanic: oh no [recovered]\n" + stack: "panic: oh no [recovered]",
		"unexpected fault address 0x7f\nfatal error: fault\n[signal SIGBUS: bus error]\n" + stack + "SIGQUIT: more\n": "unexpected fault address 0x7f; fatal error: fault; [signal SIGBUS: bus error]",
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			var w lastWords
			for b := []byte(said); len(b) > 0; b = b[min(size, len(b)):] {
				if n, err := w.Write(b[:min(size, len(b))]); err != nil || n != min(size, len(b)) {
					t.Fatal(n, err)
				}
			}
			if got := w.String(); got != want {
				t.Errorf("%.60q in pieces of %d: %q, want %q", said, size, got, want)
			}
		}
	}
	if got := clean(long); len(got) > wordLength+len("…") {
		t.Errorf("%d bytes", len(got))
	}
}
