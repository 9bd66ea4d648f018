package cosign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/cosign/v2/pkg/types"

	"github.com/imagefactory/imagefactory/factory"
)

// The predicate types of what is attested here. Where the public cosign command has a short name for a type (cyclonedx,
// spdxjson, vuln, openvex, slsaprovenance1), it is the one that this name stands for.
const (
	// ProvenanceType is SLSA provenance v1: what the image was made of.
	ProvenanceType = "https://slsa.dev/provenance/v1"
	// CycloneDXType and SPDXType are SBOMs, one of each for every platform.
	CycloneDXType = "https://cyclonedx.org/bom"
	SPDXType      = "https://spdx.dev/Document"
	// VulnerabilityType is cosign's vulnerability report.
	VulnerabilityType = "https://cosign.sigstore.dev/attestation/vuln/v1"
	// ComplianceType is a summary of what a benchmark says.
	ComplianceType = "https://github.com/imagefactory/imagefactory/attestations/compliance/v1"
	// VEXType is an OpenVEX document; its own @context names the version.
	VEXType = "https://openvex.dev/ns"
	// DecisionType is a SLSA verification summary: what the gate of one environment decided.
	DecisionType = "https://slsa.dev/verification_summary/v1"
	// RevocationType says that nobody may use the image any more.
	RevocationType = "https://github.com/imagefactory/imagefactory/attestations/revocation/v1"
	// RebaseType says that the base below an image was exchanged without a build, and what was looked at.
	RebaseType = "https://github.com/imagefactory/imagefactory/attestations/rebase/v1"
)

const (
	statementType = "https://in-toto.io/Statement/v1"
	olderType     = "https://in-toto.io/Statement/v0.1" // what the public cosign command writes
)

// statement is an in-toto statement. Field order is the order on the wire, and every list is sorted, so that the same
// facts make the same text.
type statement[P any] struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     P          `json:"predicate"`
}

// claim is a statement whose predicate is yet to be read.
type claim = statement[json.RawMessage]

// resource is an in-toto resource descriptor.
type resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Content     []byte            `json:"content,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func sha(d factory.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// draft is a statement about a digest, ready to be signed.
type draft struct {
	subject   factory.Digest
	predicate string // type
	text      []byte
}

// draftOf writes a statement about an image.
func draftOf[P any](predicateType string, about []resource, p P) (draft, error) {
	text, err := json.Marshal(statement[P]{Type: statementType, Subject: about, PredicateType: predicateType, Predicate: p})
	if err != nil {
		return draft{}, &factory.Problem{Kind: factory.ErrInvalid, What: "attestation of type " + predicateType, Cause: err}
	}
	if len(text) > maxAttestation/2 { // an envelope is a third longer
		return draft{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("attestation of type %s: %d MB, nobody would read that", predicateType, len(text)>>20)}
	}
	return draft{"sha256:" + factory.Digest(about[0].Digest["sha256"]), predicateType, text}, nil
}

// subjects are the index and the manifests of some platforms.
func subjects(repository string, index factory.Digest, parts ...factory.PlatformImage) []resource {
	all := []resource{{Name: repository, Digest: sha(index)}}
	for _, p := range parts {
		all = append(all, resource{Name: repository + " " + p.Platform.String(), Digest: sha(p.Digest)})
	}
	return all
}

func platforms(a factory.Artifact) []factory.PlatformImage {
	sorted := slices.Clone(a.Platforms)
	slices.SortFunc(sorted, func(a, b factory.PlatformImage) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	return sorted
}

// claimOf reads the in-toto statement in a DSSE envelope. It verifies nothing.
func claimOf(envelope []byte) (claim, error) {
	var e struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
	}
	var c claim
	if err := json.Unmarshal(envelope, &e); err != nil {
		return c, err
	}
	if e.PayloadType != types.IntotoPayloadType {
		return c, fmt.Errorf("payload type %.80q", e.PayloadType)
	}
	if err := json.Unmarshal(e.Payload, &c); err != nil {
		return c, err
	}
	if c.Type != statementType && c.Type != olderType {
		return c, fmt.Errorf("statement type %.80q", c.Type)
	}
	return c, nil
}

// read reads the predicate of a claim.
func read[P any](c claim) (statement[P], error) {
	st := statement[P]{Type: c.Type, Subject: c.Subject, PredicateType: c.PredicateType}
	return st, json.Unmarshal(c.Predicate, &st.Predicate)
}

// purposeOf is what a statement is for: of two with the same purpose by the same signer the newer one replaces the other.
// Those of two releases, environments or platforms have different ones. A revocation has none, so that nothing replaces it.
func purposeOf(c claim) string {
	switch c.PredicateType {
	case RevocationType:
		return ""
	case ProvenanceType:
		st, err := read[provenance](c)
		if err != nil {
			return ""
		}
		return c.PredicateType + " " + st.Predicate.tag().String()
	case DecisionType:
		st, err := read[summary](c)
		if err != nil {
			return ""
		}
		return c.PredicateType + " " + st.Predicate.resource().Tag
	case CycloneDXType, SPDXType:
		var about []string
		for _, s := range c.Subject {
			about = append(about, s.Digest["sha256"])
		}
		return c.PredicateType + " " + strings.Join(about, " ")
	}
	return c.PredicateType
}
