package proc

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
)

const tailSize = 4 << 10

// output is where a program's two streams go.
type output struct {
	mu             sync.Mutex // so that both streams may end in the same Writer
	err            error      // the first that a Writer returned
	tail           tail
	stdout, stderr stream
}

func newOutput(c Command) *output {
	var secrets [][]byte
	for _, s := range c.Redact {
		if s != "" {
			secrets = append(secrets, []byte(s))
		}
	}
	slices.SortFunc(secrets, func(a, b []byte) int { return cmp.Compare(len(b), len(a)) })
	o := &output{}
	o.stdout = stream{out: o, to: c.Stdout, secrets: secrets}
	o.stderr = stream{out: o, to: c.Stderr, secrets: secrets, tail: &o.tail}
	return o
}

func (o *output) flush() {
	o.stdout.flush()
	o.stderr.flush()
}

// stream passes bytes on with the secrets replaced. It holds back what may be the beginning of a secret until it knows.
type stream struct {
	out     *output
	to      io.Writer
	tail    *tail
	secrets [][]byte // longest first
	held    []byte
}

// Write never fails, because a program should not die of a log that cannot be written.
func (s *stream) Write(b []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	if len(s.secrets) == 0 {
		s.pass(b)
		return len(b), nil
	}
	safe, rest := redact(append(s.held, b...), s.secrets, false)
	s.held = bytes.Clone(rest)
	s.pass(safe)
	return len(b), nil
}

func (s *stream) flush() {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	safe, _ := redact(s.held, s.secrets, true)
	s.held = nil
	s.pass(safe)
}

func (s *stream) pass(b []byte) {
	if len(b) == 0 {
		return
	}
	if s.tail != nil {
		s.tail.write(b)
	}
	if s.to == nil || s.out.err != nil {
		return
	}
	if _, err := s.to.Write(b); err != nil {
		s.out.err = err
	}
}

// redact returns b with each secret replaced by ***, and the end of b that may be the beginning of one, which is empty when b is final.
func redact(b []byte, secrets [][]byte, final bool) (safe, rest []byte) {
scan:
	for i := 0; i < len(b); {
		for _, secret := range secrets {
			if bytes.HasPrefix(b[i:], secret) {
				safe = append(safe, "***"...)
				i += len(secret)
				continue scan
			}
			if !final && bytes.HasPrefix(secret, b[i:]) {
				return safe, b[i:]
			}
		}
		safe = append(safe, b[i])
		i++
	}
	return safe, nil
}

// tail keeps the last bytes of a stream.
type tail struct{ kept []byte }

func (t *tail) write(b []byte) {
	if len(b) >= tailSize {
		t.kept = append(t.kept[:0], b[len(b)-tailSize:]...)
		return
	}
	if over := len(t.kept) + len(b) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	t.kept = append(t.kept, b...)
}

// String returns whole lines where there is more than one, without control characters that could play with a terminal.
func (t *tail) String() string {
	s := string(t.kept)
	if _, after, found := strings.Cut(s, "\n"); found && len(s) == tailSize {
		s = after
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || unicode.IsPrint(r):
			return r
		case r == '\r':
			return '\n'
		}
		return -1
	}, s)
}
