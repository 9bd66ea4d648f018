package factory

import (
	"fmt"
	"slices"
	"time"
)

// Action is what a run does with an image.
type Action string

// The actions.
const (
	Rebuild Action = "rebuild"
	Keep    Action = "keep"
	Rescan  Action = "rescan" // kept, and looked at again with today's vulnerability data
	Skip    Action = "skip"   // not set up where this runs; the reason says what is missing
	Yield   Action = "yield"  // left to the next run, because somebody needs the factory at once; the reason says who
	Hold    Action = "hold"   // not tried: its parent failed or may not be built on, or its own back-off after failures is not over; the reason says which
	Fail    Action = "fail"   // its inputs could not be read or locked; the reason says why
)

// Job is one image in one run: what is to be done, and the reason a person would give.
type Job struct {
	Image  Image  `json:"image"`
	Action Action `json:"action"`
	Reason string `json:"reason"`
	Wave   int    `json:"wave"` // 0 = first; a child's wave is after its parent's
	Env    Env    `json:"env"`
	Source Source `json:"source"`
	// Parent is the release that a child is built on; nil = the image has no parent, or the parent is made in this very run.
	Parent *Base `json:"parent,omitempty"`
	// Err is why, for an action of Fail.
	Err error `json:"-"`
	// Refresh is set when the inputs are unchanged and only the age asks for a rebuild: the digest must come out
	// equal to this one.
	Refresh Digest `json:"refresh,omitempty"`
	// Supersedes is the id of the release that this one replaces.
	Supersedes string `json:"supersedes,omitempty"`
	// Barred is why nothing may be built on the release that is kept; empty = it may.
	Barred string `json:"barred,omitempty"`
	// Rebase is set when nothing is built: the base below a release is exchanged.
	Rebase *Rebase `json:"rebase,omitempty"`
}

// Hash is the middle part of the tag: that of the inputs' commit, and of a rebase its own.
func (j Job) Hash() string {
	if j.Rebase != nil {
		return j.Rebase.Hash()
	}
	return j.Source.Hash
}

// Basis is the digest of what the job makes its image from: its inputs, and the release that it is built on. Empty while that is not
// known.
func (j Job) Basis() Digest {
	switch {
	case j.Source.Inputs == "" || j.Image.From != "" && j.Parent == nil:
		return ""
	case j.Parent == nil:
		return j.Source.Inputs
	}
	return DigestOf([]byte(string(j.Source.Inputs) + " on " + string(j.Parent.Digest)))
}

// Behind is the job when what its image is built on did not come out of this run: nobody tries it, and why says what became of the
// parent. One that fails for a reason of its own goes on to fail, and tells both.
func (j Job) Behind(why string) Job {
	why = j.Image.From + ", which it is built on, " + why
	if j.Action == Fail {
		j.Reason += "; and " + why
		return j
	}
	j.Action, j.Reason, j.Err = Hold, why, nil
	return j
}

// Base is the release that an image is built on.
type Base struct {
	Image      string `json:"image"`
	Release    string `json:"release"`    // its id
	Repository string `json:"repository"` // registry host and path
	Digest     Digest `json:"digest"`     // of its index
	Tag        Tag    `json:"tag"`
}

// Ref returns repository@digest.
func (b Base) Ref() string { return b.Repository + "@" + string(b.Digest) }

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
	// Configs are the configurations of a child's platforms: what it has from its parent's release and from a Dockerfile is in them.
	Configs map[Platform]Config
}

// Config is the configuration of one platform: the definition's where nothing else is said.
func (b Built) Config(p Platform) Config {
	if c, ok := b.Configs[p]; ok {
		return c
	}
	return b.Job.Image.Config
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

// Proven is what OpenSCAP says of a hardened image.
type Proven struct {
	Compliance Compliance
	Documents  []Document // ARF and HTML of each evaluation
}

// Scanned is what the scanner says of a packed image.
type Scanned struct {
	Scan      Scan
	Documents []Document // SBOMs: CycloneDX and SPDX of each platform
	// Own is as in Evidence.
	Own map[string][]string
}

// Examined is a packed image that was tested, proven and scanned.
type Examined struct {
	Tested
	Proven  Proven
	Scanned Scanned
}

// Documents returns all documents of the examination.
func (e Examined) Documents() []Document {
	return slices.Concat(e.Proven.Documents, e.Scanned.Documents)
}

// Approved is an examined image that the gate lets pass. Only Approve makes one that is valid.
type Approved struct {
	Examined
	Decision Decision
	made     []Document
	valid    bool
}

// Approve returns e as approved, with the documents that were made with the decision. A decision that blocks, or that is about
// something else, is ErrBlocked.
func Approve(e Examined, d Decision, made ...Document) (Approved, error) {
	if !d.Pass || d.Digest != e.Artifact.Digest || d.Env != e.Job.Env || len(d.Blocking()) > 0 {
		return Approved{Examined: e, Decision: d}, &Problem{Kind: ErrBlocked, What: fmt.Sprintf("the decision does not let %s pass into %s", e.Artifact.Digest.Short(), e.Job.Env)}
	}
	return Approved{Examined: e, Decision: d, made: made, valid: true}, nil
}

// Documents returns all documents of the examination and of the decision.
func (a Approved) Documents() []Document { return slices.Concat(a.Examined.Documents(), a.made) }

// Valid reports whether Approve made it.
func (a Approved) Valid() bool { return a.valid }

// Sealed is an approved image with its signatures and attestations, not yet published.
type Sealed struct {
	Approved
	Repository string // registry host and path, without tag or digest
	Tag        Tag
	Signatures []Signature
}
