package factory

import "time"

// How it is known that an image is built on one of ours.
const (
	ByAnnotation = "annotation" // it says so itself
	ByLayers     = "layers"     // it has the release's layers, from the bottom
)

// Candidate is an image in somebody's registry, read as far as it takes to tell what it is built on. Everything but the digests
// is what the image says of itself.
type Candidate struct {
	Repository string    `json:"repository"` // registry host and path
	Tag        string    `json:"tag"`
	Digest     Digest    `json:"digest"`     // of what the tag names
	Manifest   Digest    `json:"manifest"`   // of the platform that was read
	Created    time.Time `json:"created"`    // zero = it does not say
	BaseName   string    `json:"baseName"`   // org.opencontainers.image.base.name
	BaseDigest Digest    `json:"baseDigest"` // org.opencontainers.image.base.digest
	Layers     []Digest  `json:"layers"`     // compressed, from the bottom
	DiffIDs    []Digest  `json:"diffIDs"`    // the same, unpacked
}

// Look is what came of looking at a repository for images that are built on ours. The last one of each repository is kept, so that
// nobody takes what was not looked at for what is not there.
type Look struct {
	Repository string    `json:"repository"` // registry host and path
	At         time.Time `json:"at"`
	Tags       int       `json:"tags"`              // that it had
	Read       int       `json:"read"`              // of these
	Found      int       `json:"found"`             // images built on ours
	Problem    string    `json:"problem,omitempty"` // what could not be read, and why; empty = nothing
}
