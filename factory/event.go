package factory

import "time"

// StepName names a step of the pipeline.
type StepName string

// The steps, in their order.
const (
	StepResolve StepName = "resolve"
	StepBuild   StepName = "build"
	StepHarden  StepName = "harden"
	StepPack    StepName = "pack"
	StepTest    StepName = "test"
	StepProve   StepName = "prove"
	StepScan    StepName = "scan"
	StepGate    StepName = "gate"
	StepSign    StepName = "sign"
	StepPublish StepName = "publish"
	StepRecord  StepName = "record"
	StepRebase  StepName = "rebase" // in the place of everything before test, when a base is exchanged
)

// EventKind says what an Event reports.
type EventKind string

// The kinds of event.
const (
	Began    EventKind = "started"
	Advanced EventKind = "progress" // Current of Total
	Finished EventKind = "done"
	Broke    EventKind = "failed"
	Noted    EventKind = "note"    // worth a line
	Warned   EventKind = "warning" // worth a line even when quiet
)

// Event is one thing that happened, for whoever watches.
type Event struct {
	Time    time.Time `json:"time"`
	Kind    EventKind `json:"kind"`
	Image   string    `json:"image,omitempty"`
	Step    StepName  `json:"step,omitempty"`
	Message string    `json:"message,omitempty"`
	Current int64     `json:"current,omitempty"`
	Total   int64     `json:"total,omitempty"`
	Unit    string    `json:"unit,omitempty"` // packages, bytes; empty = count
	Seconds float64   `json:"seconds,omitempty"`
}

// Events receives what happens. It must be safe for concurrent use. A nil Events discards.
type Events func(Event)

// Emit sends e, or does nothing when there is nobody to send it to.
func (f Events) Emit(e Event) {
	if f != nil {
		f(e)
	}
}
