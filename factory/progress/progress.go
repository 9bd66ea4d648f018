// Package progress shows factory.Event to whoever watches: redrawn lines on a terminal, plain lines in a log, or JSON.
//
// Rules: what happened is printed in order and never dropped silently; what merely advances may be; only event times
// count, so a recording replays as it was; a message cannot play with the terminal or forge a line; a reader that is slow,
// stuck or gone never holds up the work.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Mode is how events are shown.
type Mode string

// The modes.
const (
	Auto  Mode = "auto" // TTY on a terminal, else Plain
	TTY   Mode = "tty"
	Plain Mode = "plain"
	JSON  Mode = "json" // one object a line
)

// ParseMode accepts the four modes only.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, TTY, Plain, JSON:
		return m, nil
	}
	return "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.40q is not a kind of progress", s), Hint: "auto, tty, plain or json"}
}

// For decides Auto; the other modes stay what they are.
func (m Mode) For(isTerminal bool) Mode {
	switch {
	case m != Auto && m != "":
		return m
	case isTerminal:
		return TTY
	}
	return Plain
}

const (
	maxPending = 10_000          // lines that a stuck reader may owe us
	patience   = 2 * time.Second // for a stuck reader, in Close
)

// Renderer shows events. New makes one.
type Renderer struct {
	w    io.Writer
	show view
	wake chan struct{} // something to write; buffered
	done chan struct{} // the writer has ended

	mu      sync.Mutex
	pending []string // permanent lines not yet written
	lost    int      // lines that found no room
	closed  bool
	err     error // the first that w returned; nothing is written after it
}

// view turns an event into lines that stay; live returns the lines at the bottom that are redrawn.
type view interface {
	event(factory.Event) []string
	live() []string
}

// New starts a Renderer that writes to w. Auto counts as Plain, since only the caller knows whether w is a terminal (see
// Mode.For). Width is the terminal's in columns, 0 means 80. Close it.
func New(w io.Writer, mode Mode, width int, noColor bool) *Renderer {
	r := &Renderer{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if width <= 0 {
		width = 80
	}
	switch mode.For(false) {
	case JSON:
		r.show = jsonView{}
	case TTY:
		r.show = &ttyView{plainView: plainView{paint: paint(!noColor)}, width: width}
	default:
		r.show = &plainView{every: 10 * time.Second}
	}
	go r.write()
	return r
}

// Events returns where to send events. It may be called from anywhere at any time; after Close it does nothing.
func (r *Renderer) Events() factory.Events {
	return func(e factory.Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.closed || r.err != nil {
			return
		}
		lines := r.show.event(e)
		if room := maxPending - len(r.pending); len(lines) > room {
			r.lost += len(lines) - room
			lines = lines[:room]
		}
		r.pending = append(r.pending, lines...)
		r.nudge()
	}
}

// Close shows what is left, erases the redrawn lines and returns the first error of the Writer. It gives a Writer that is stuck
// two seconds.
func (r *Renderer) Close() error {
	r.mu.Lock()
	r.closed = true
	r.nudge()
	r.mu.Unlock()
	stuck := time.NewTimer(patience)
	defer stuck.Stop()
	select {
	case <-r.done:
		return r.err
	case <-stuck.C:
		return fmt.Errorf("progress: the output takes nothing")
	}
}

func (r *Renderer) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// write is the only one that touches w. It shows the newest state, however many events led there.
func (r *Renderer) write() {
	defer close(r.done)
	for drawn, last := 0, false; !last; {
		<-r.wake
		r.mu.Lock()
		last = r.closed
		lines := r.pending
		r.pending = nil
		if r.lost > 0 {
			lines = append(lines, fmt.Sprintf("(%d lines left out, the output was too slow)", r.lost))
			r.lost = 0
		}
		var live []string
		if !last {
			live = r.show.live()
		}
		r.mu.Unlock()
		out := frame(drawn, lines, live)
		drawn = len(live)
		if _, err := io.WriteString(r.w, out); err != nil {
			r.mu.Lock()
			r.err, r.pending = err, nil
			r.mu.Unlock()
			return
		}
	}
}

// frame erases the lines drawn before, prints the permanent ones and draws the live ones below.
func frame(drawn int, lines, live []string) string {
	out := ""
	if drawn > 0 {
		out = fmt.Sprintf("\x1b[%dA\x1b[J", drawn)
	}
	for _, l := range append(lines, live...) {
		out += l + "\n"
	}
	return out
}
