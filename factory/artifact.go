package factory

import "time"

// Root is a filesystem inside the build service. State is the builder's own description of it: data, not a handle, so
// that a Root can be kept, compared and used again. The zero value is the empty filesystem.
type Root struct {
	Platform Platform
	State    []byte
}

// Step is a command to run in a Root. Steps have no network unless they say so.
type Step struct {
	Name  string   // for progress and errors: "harden debian-12 linux/amd64"
	Image string   // whose step it is, for progress; may be empty
	Step  StepName // likewise
	Root  Root
	Args  []string
	Env   []string // KEY=value
	User  string   // uid or uid:gid; empty = root
	Dir   string   // empty = /
	// Files appear read-only at their absolute paths while the step runs and leave no trace.
	Files map[string]File
	// Secrets appear as files at their absolute paths while the step runs, with the content that a file of this machine has at
	// that time: path in the step → file here. Neither path nor content here is part of the step, its cache or its output.
	Secrets map[string]string
	// Toolbox mounts the toolbox read-only at /.toolbox.
	Toolbox bool
	// Shell lends the toolbox's /bin/sh, with the loader and library that it needs, to a root that may have none. Only while the
	// step runs; it excludes InToolbox.
	Shell bool
	// InToolbox makes the toolbox the root filesystem that the command sees, and mounts Root at TargetMount, writable.
	// Whatever the command changes in either is thrown away: StepResult.Root is Root. It excludes Toolbox.
	InToolbox bool
	// Tmpfs are absolute paths that are empty, writable and thrown away.
	Tmpfs []string
	// Output is an absolute path whose files come back in StepResult.Output; empty = none.
	Output string
	// Network allows the build service's default network.
	Network bool
	// Fresh never takes the result from a cache.
	Fresh bool
}

// File is a small file's content.
type File struct {
	Mode uint32 // permission bits; 0 means 0644
	Data []byte
}

// StepResult is what a Step left. A command that exits other than 0 is not an error of the step: look at Exit.
type StepResult struct {
	Root   Root // the target with the step's changes
	Exit   int
	Stdout []byte
	Stderr []byte
	Output map[string][]byte // by path relative to Step.Output
	Time   time.Duration
	Cached bool
}

// Artifact is an image that was built.
type Artifact struct {
	Digest    Digest          `json:"digest"` // of the index
	Layout    string          `json:"-"`      // folder with an OCI image layout
	Platforms []PlatformImage `json:"platforms"`
}

// PlatformImage is one platform of an artifact.
type PlatformImage struct {
	Platform Platform `json:"platform"`
	Digest   Digest   `json:"digest"` // of the manifest
	Size     int64    `json:"size"`   // compressed bytes of all layers
	Unpacked int64    `json:"unpacked"`
	Layers   []Layer  `json:"layers"`
	// Config is what runs when nobody says otherwise; nil = it was not noted, by an older factory.
	Config *Config `json:"config,omitempty"`
}

// Layer is one layer of an image.
type Layer struct {
	Name   string `json:"name"` // what it holds, for people: "base", "security", "configuration"
	Digest Digest `json:"digest"`
	DiffID Digest `json:"diffID"`
	Size   int64  `json:"size"` // compressed bytes
}

// Outcome is what came of one control.
type Outcome string

// The outcomes of a control.
const (
	Applied       Outcome = "applied"        // changed something
	Already       Outcome = "already"        // was in force
	NotApplicable Outcome = "not applicable" // can have no effect in this scope
	Exempt        Outcome = "exempt"
	Failed        Outcome = "failed"
)

// ControlOutcome is one CIS control in one image.
type ControlOutcome struct {
	Control  string   `json:"control"` // 5.4.1.1
	Title    string   `json:"title"`
	Platform Platform `json:"platform"`
	Outcome  Outcome  `json:"outcome"`
	Reason   string   `json:"reason,omitempty"` // why, for everything but applied and already
	Until    Date     `json:"until"`            // end of an exemption
}

// Signature is one signed payload about a digest, in cosign's form.
type Signature struct {
	Subject Digest `json:"subject"`
	// Predicate is the in-toto predicate type; empty = a plain image signature (simple signing).
	Predicate string `json:"predicate,omitempty"`
	Payload   []byte `json:"payload"` // simple-signing JSON, or a DSSE envelope
	// Base64 is the detached signature over Payload; empty for DSSE, which carries its own.
	Base64 string `json:"base64,omitempty"`
	Cert   []byte `json:"cert,omitempty"`  // PEM; keyless only
	Chain  []byte `json:"chain,omitempty"` // PEM; keyless only
	Bundle []byte `json:"bundle,omitempty"`
}
