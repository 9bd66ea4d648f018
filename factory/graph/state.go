package graph

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// State is how it stands with a node.
type State string

// The states.
const (
	Broken  State = "broken"  // its definition is not valid, or its parent is defined by nobody
	Cycle   State = "cycle"   // it is built on itself
	Failed  State = "failed"  // the last run could not make it
	Breach  State = "breach"  // the gate would not let in today what is in force
	Held    State = "held"    // not tried: its parent failed, or its own back-off is not over
	Behind  State = "behind"  // built on an older release than its parent's newest
	Overdue State = "overdue" // no release for too long
	Unfixed State = "unfixed" // fixes are there that it lacks, within their deadlines
	Ended   State = "ended"   // the support of its distribution is over
	Gone    State = "gone"    // released, and defined by nobody any more
	Never   State = "never"   // not released yet
	Unknown State = "unknown" // outside, and nobody looked
	OK      State = "ok"
)

// States returns every state, the worst first.
func States() []State {
	return []State{Broken, Cycle, Failed, Breach, Held, Behind, Overdue, Unfixed, Ended, Gone, Never, Unknown, OK}
}

// Tone is how much a state matters.
type Tone string

// The tones.
const (
	Bad     Tone = "bad"  // somebody has to do something
	Warn    Tone = "warn" // the factory will, or somebody soon has to
	Neutral Tone = "none"
	Good    Tone = "good"
)

// Tone returns how much s matters.
func (s State) Tone() Tone {
	switch s {
	case Broken, Cycle, Failed, Breach:
		return Bad
	case Held, Behind, Overdue, Unfixed, Ended:
		return Warn
	case OK:
		return Good
	}
	return Neutral
}

// Mark is one thing to know of a node.
type Mark struct {
	State State  `json:"state"`
	Text  string `json:"text"`
}

func (n *Node) mark(s State, format string, args ...any) {
	n.Marks = append(n.Marks, Mark{s, fmt.Sprintf(format, args...)})
}

// settle sorts the marks, the worst first, and takes the state from them.
func (n *Node) settle() {
	slices.SortStableFunc(n.Marks, func(a, b Mark) int {
		return cmp.Compare(slices.Index(States(), a.State), slices.Index(States(), b.State))
	})
	n.State = OK
	if len(n.Marks) > 0 {
		n.State = n.Marks[0].State
	}
}

// judge marks an image by what is known of it and of its parent, nil when it has none.
func (n *Node) judge(in Input, parent *Node) {
	switch l := n.LastRun; {
	case l == nil:
	case l.Error != "" || l.Action == factory.Fail:
		n.mark(Failed, "%s", firstLine(cmp.Or(l.Error, l.Reason, "the last run could not make it")))
	case l.Action == factory.Hold:
		n.mark(Held, "%s", cmp.Or(l.Reason, "held back"))
	}
	n.judgeForce()
	if n.Release == nil {
		n.never()
		return
	}
	n.AgeHours = in.At.Sub(n.Release.Created).Hours()
	if old := in.At.Sub(n.Release.Created); in.MaxAge > 0 && old > in.MaxAge+day && !slices.ContainsFunc(n.Marks, func(m Mark) bool { return m.State == Gone }) {
		n.mark(Overdue, "%s old, and a refresh was due after %s", span(old), span(in.MaxAge))
	}
	if !n.ends.IsZero() && factory.DateOf(in.At).Time().After(n.ends.Time()) {
		n.mark(Ended, "support ended on %s", n.ends)
	}
	n.compare(parent)
}

// judgeForce marks what is wrong with what is in force.
func (n *Node) judgeForce() {
	var lacking []string
	longest := 0.0
	for _, s := range n.InForce {
		if s.Breach != "" {
			n.mark(Breach, "%s: %s", s.Env, s.Breach)
		}
		if s.DriftHours > 0 {
			lacking, longest = append(lacking, string(s.Env)), max(longest, s.DriftHours)
		}
	}
	if len(lacking) > 0 {
		n.mark(Unfixed, "a fix is there since %s that is not in %s", span(time.Duration(longest*float64(time.Hour))), strings.Join(lacking, ", "))
	}
}

func (n *Node) never() {
	text := "no release yet"
	if l := n.LastRun; l != nil && l.Action == factory.Skip && l.Reason != "" {
		text += ", " + l.Reason
	}
	n.mark(Never, "%s", text)
}

// compare tells a child that is not built on its parent's newest release.
func (n *Node) compare(parent *Node) {
	if parent == nil || parent.Release == nil || n.from == "" {
		return
	}
	switch base := n.Release.Parent; {
	case base == nil:
		n.mark(Behind, "its newest release is not built on %s yet", parent.Name)
	case base.Image != parent.Name:
		n.mark(Behind, "its newest release is built on %s, not on %s", base.Image, parent.Name)
	case base.Digest != parent.Release.Digest:
		n.mark(Behind, "built on %s of %s, which has %s", base.Tag, parent.Name, parent.Release.Tag)
	}
}
