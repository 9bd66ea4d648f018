package factory

import "time"

// Release is an image digest that was published. It never changes; a later one supersedes it.
type Release struct {
	ID         string    `json:"id"`
	Image      string    `json:"image"`
	Owner      string    `json:"owner"`
	Repository string    `json:"repository"` // registry host and path, no tag
	Digest     Digest    `json:"digest"`     // of the index
	Tag        Tag       `json:"tag"`
	Source     Source    `json:"source"`
	Reason     string    `json:"reason"`
	Created    time.Time `json:"created"` // UTC
	Run        string    `json:"run"`
	Supersedes string    `json:"supersedes,omitempty"` // id of the release before it
	// Parent is the release that it is built on; nil = it is made of packages alone.
	Parent *Base `json:"parent,omitempty"`
	// Cause names the trigger of ours that made somebody ask for this release; empty = none did. A dependent whose trigger it was
	// is not told of it.
	Cause string `json:"cause,omitempty"`
	// Rebased says how it came to be when nothing was built; nil = it was built.
	Rebased *Rebase `json:"rebased,omitempty"`

	Artifact   Artifact         `json:"artifact"`
	Lock       Lock             `json:"lock"`
	Controls   []ControlOutcome `json:"controls"`
	Tests      []TestResult     `json:"tests"`
	Signatures []Signature      `json:"signatures"`
	Steps      []StepTime       `json:"steps"`
	// What was found when it was made. A later rescan is kept beside the release, not in it.
	Compliance Compliance `json:"compliance"`
	Scan       Scan       `json:"scan"`
	Decision   Decision   `json:"decision"`
	Documents  []Document `json:"documents"`
	Inputs     []byte     `json:"-"` // tar of the image's inputs
}

// Ref returns repository@digest, the only name that cannot be moved.
func (r Release) Ref() string { return r.Repository + "@" + string(r.Digest) }

// Tagged returns repository:tag.
func (r Release) Tagged() string { return r.Repository + ":" + r.Tag.String() }

// StepTime says how long one step of the pipeline took.
type StepTime struct {
	Step    StepName `json:"step"`
	Seconds float64  `json:"seconds"`
}

// Run is one invocation that did work.
type Run struct {
	ID       string     `json:"id"`
	Command  string     `json:"command"`       // nightly, build
	Env      Env        `json:"env,omitempty"` // that its releases are for; empty = it was not noted, by an older factory
	Host     string     `json:"host"`
	PID      int        `json:"pid"`
	Started  time.Time  `json:"started"`
	Finished *time.Time `json:"finished,omitempty"` // nil = still running, or killed
	State    RunState   `json:"state"`
	Verdict  string     `json:"verdict"`
	Jobs     []RunJob   `json:"jobs"`
}

// RunState is where a run stands.
type RunState string

// The states of a run.
const (
	Running     RunState = "running"
	Succeeded   RunState = "succeeded"
	Partial     RunState = "partial"     // some images failed, or were left to the next run
	Broken      RunState = "failed"      // all of them, or the run itself
	Interrupted RunState = "interrupted" // killed, and noticed by a later run
)

// RunJob is what a run did with one image.
type RunJob struct {
	Image   string     `json:"image"`
	Action  Action     `json:"action"`
	Reason  string     `json:"reason"`
	Release string     `json:"release,omitempty"` // id of the release made
	Ref     string     `json:"ref,omitempty"`     // repository:tag
	Digest  Digest     `json:"digest,omitempty"`
	Error   string     `json:"error,omitempty"`
	Steps   []StepTime `json:"steps,omitempty"`
	// Basis is, of an image that was tried to be made, what from: Job.Basis. Empty when that was ended by something that says nothing
	// about the image: an outage, an interruption.
	Basis Digest `json:"basis,omitempty"`
}

// Entry is one line of the ledger: a digest that came into an environment, or left it.
type Entry struct {
	ID         string    `json:"id"`
	Release    string    `json:"release"`
	Image      string    `json:"image"`
	Repository string    `json:"repository"`
	Digest     Digest    `json:"digest"`
	Env        Env       `json:"env"`
	Tag        Tag       `json:"tag"`
	At         time.Time `json:"at"`
	By         string    `json:"by"`  // user@host, or the run
	Run        string    `json:"run"` // empty = none
	// Reason is why: of a release the job's, of a revocation the person's.
	Reason   string   `json:"reason"`
	Revoked  bool     `json:"revoked,omitempty"` // it left: nobody may use the digest any more
	Decision Decision `json:"decision"`          // on what evidence
}
