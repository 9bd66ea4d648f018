package proc

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzRedact: however output is cut into writes, no secret comes through and all else does.
func FuzzRedact(f *testing.F) {
	f.Add("user:hunter2@host", "hunter2", "hunter", 3)
	f.Add("aaaaab", "aab", "b", 1)
	f.Add("abababac", "ababac", "", 2)
	f.Add("tail hunt", "hunter2", "x", 7)
	f.Fuzz(func(t *testing.T, text, first, second string, cut int) {
		if strings.Contains("***", first) || strings.Contains("***", second) || strings.Contains(first+second, "*") {
			t.Skip("the mask itself")
		}
		secrets := []string{first, second}
		var got, whole bytes.Buffer
		o := newOutput(Command{Stdout: &got, Redact: secrets})
		for rest := []byte(text); len(rest) > 0; {
			n := min(max(cut, 1), len(rest))
			if _, err := o.stdout.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		o.flush()
		p := newOutput(Command{Stdout: &whole, Redact: secrets})
		_, _ = p.stdout.Write([]byte(text))
		p.flush()
		if got.String() != whole.String() {
			t.Errorf("in pieces of %d: %q, at once: %q", cut, got.String(), whole.String())
		}
		for _, s := range secrets {
			if s != "" && strings.Contains(got.String(), s) {
				t.Errorf("%q came through in %q", s, got.String())
			}
		}
		if want := strings.NewReplacer(first, "***").Replace(text); second == "" && first != "" && got.String() != want {
			t.Errorf("got %q, want %q", got.String(), want)
		}
	})
}
