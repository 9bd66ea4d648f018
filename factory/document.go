package factory

// DocumentKind says what a Document is.
type DocumentKind string

// The kinds of document.
const (
	CycloneDX      DocumentKind = "cyclonedx"       // SBOM, CycloneDX JSON
	SPDX           DocumentKind = "spdx"            // SBOM, SPDX JSON
	ARF            DocumentKind = "arf"             // Asset Reporting Format: the whole result of one OpenSCAP evaluation
	OpenVEX        DocumentKind = "openvex"         // what is said about each finding, OpenVEX JSON
	ComplianceHTML DocumentKind = "compliance-html" // OpenSCAP's report of one evaluation, for people
)

// Document is a piece of evidence as its maker wrote it.
type Document struct {
	Kind      DocumentKind `json:"kind"`
	Name      string       `json:"name"`              // unique within a release and kind: linux/amd64, linux/amd64 container level 2
	Platform  Platform     `json:"platform,omitzero"` // zero = of no platform
	MediaType string       `json:"mediaType"`
	Digest    Digest       `json:"digest"`
	Data      []byte       `json:"-"`
}

// NewDocument fills in the digest.
func NewDocument(kind DocumentKind, name string, p Platform, mediaType string, data []byte) Document {
	return Document{Kind: kind, Name: name, Platform: p, MediaType: mediaType, Digest: DigestOf(data), Data: data}
}
