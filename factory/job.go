package factory

import "time"

// Action is what a run does with an image.
type Action string

// The actions.
const (
	Rebuild Action = "rebuild"
	Keep    Action = "keep"
	Fail    Action = "fail" // its inputs could not be read or locked; the reason says why
)

// Job is one image in one run: what is to be done, and the reason a person would give.
type Job struct {
	Image  Image  `json:"image"`
	Action Action `json:"action"`
	Reason string `json:"reason"`
	Wave   int    `json:"wave"` // 0 = first; a child's wave is after its parent's
	Env    Env    `json:"env"`
	Source Source `json:"source"`
	// Err is why, for an action of Fail.
	Err error `json:"-"`
	// Refresh is set when the inputs are unchanged and only the age asks for a rebuild: the digest must come out
	// equal to this one.
	Refresh Digest `json:"refresh,omitempty"`
	// Supersedes is the id of the release that this one replaces.
	Supersedes string `json:"supersedes,omitempty"`
}

// Source says which commit made an image's inputs.
type Source struct {
	Commit string `json:"commit,omitempty"` // 40 hex digits; empty when Dirty
	Hash   string `json:"hash"`             // the tag's eight hex digits
	Dirty  bool   `json:"dirty,omitempty"`  // inputs that are not committed
	Remote string `json:"remote,omitempty"` // the repository's URL without credentials; may be empty
	Inputs Digest `json:"inputs"`           // digest of the inputs' content
}

// Locked is a job whose packages are decided.
type Locked struct {
	Job  Job
	Lock Lock
	// Inputs is a tar of the files that the image is made of, as they were when they were locked. A release can be
	// reproduced from it alone.
	Inputs []byte
	At     time.Time // when the run began; decides the tag's date
	// Fresh, when not empty, names this attempt: no step may take its result from an earlier one's cache.
	Fresh string
}

// Built is a root filesystem for each platform, packages installed.
type Built struct {
	Locked
	Roots []Root
}

// Hardened is Built after the hardening profile was applied.
type Hardened struct {
	Built
	Controls []ControlOutcome
}

// Packed is an OCI image on this machine's disk, visible to nobody else.
type Packed struct {
	Hardened
	Artifact Artifact
}

// Tested is a packed image whose acceptance tests all ran.
type Tested struct {
	Packed
	Results []TestResult
}

// Sealed is a tested image with its signatures and attestations, not yet published.
type Sealed struct {
	Tested
	Repository string // registry host and path, without tag or digest
	Tag        Tag
	Signatures []Signature
}
