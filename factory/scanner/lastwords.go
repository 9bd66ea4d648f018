package scanner

import (
	"bytes"
	"strings"
	"sync"
	"unicode"
)

const (
	wordLines  = 3
	wordLength = 300 // bytes of a line
)

// lastWords keeps what a program wrote last: its last lines, or those that open a crash of the Go runtime, after which
// only stacks follow.
type lastWords struct {
	mu      sync.Mutex
	line    []byte // begun
	lines   []string
	crashed bool
}

var crashes = []string{"panic: ", "fatal error: ", "unexpected fault address", "SIG", "[signal "}

// Write never fails.
func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := b; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, part[:min(len(part), max(0, wordLength-len(w.line)))]...)
		if rest = after; ended {
			w.end()
		}
	}
	return len(b), nil
}

func (w *lastWords) end() {
	line := clean(string(w.line))
	w.line = w.line[:0]
	crash := false
	for _, c := range crashes {
		crash = crash || strings.HasPrefix(line, c)
	}
	switch {
	case line == "" || w.crashed && !crash:
		return
	case crash && !w.crashed:
		w.crashed, w.lines = true, nil
	case crash && len(w.lines) == wordLines:
		return
	}
	w.lines = append(w.lines, line)
	w.lines = w.lines[max(0, len(w.lines)-wordLines):]
}

// String returns the lines on one line.
func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
	return strings.Join(w.lines, "; ")
}

// clean takes out what could play with a terminal, and makes one line of bounded length.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); len(s) > wordLength {
		s = strings.ToValidUTF8(s[:wordLength], "") + "…"
	}
	return s
}
