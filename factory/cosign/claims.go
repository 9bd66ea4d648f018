package cosign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci"

	"github.com/imagefactory/imagefactory/factory"
)

// What to do about an attestation that is not there.
const (
	rebuild = "it was released before this was attested, or somebody took it away: rebuild it"
	rescan  = "scan it again (factory rescan), or rebuild it"
)

// refusal is an attachment that proves nothing.
type refusal struct {
	predicate string // type, as it says itself; empty when it is not readable
	err       error
}

// claims returns every statement about d by whom t trusts, and what else hangs there. What an attachment is for is read
// from what is signed, never from its annotations.
func (t *trust) claims(ctx context.Context, all []oci.Signature, d factory.Digest) (good []claim, bad []refusal) {
	check := t.check
	check.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
	for _, att := range all {
		err := judge(att, d, func(att oci.Signature, h v1.Hash) error {
			_, err := cosign.VerifyBlobAttestation(ctx, att, h, &check)
			return err
		})
		var c claim
		if text, unread := att.Payload(); unread == nil {
			var malformed error
			if c, malformed = claimOf(text); err == nil && malformed != nil {
				err = fmt.Errorf("signed, but not readable: %w", malformed)
			}
		}
		if err != nil {
			bad = append(bad, refusal{c.PredicateType, err})
			continue
		}
		good = append(good, c)
	}
	return good, bad
}

// attested reads what the trusted key says of the image.
func (v *verification) attested(ctx context.Context) error {
	attached, err := v.options.Remote.attached(ctx, v.repo, v.digest, attestations)
	if errors.Is(err, factory.ErrUnverified) {
		v.unreadable = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	v.claims, v.refused = v.trust.claims(ctx, attached, v.digest)
	v.decide()
	return nil
}

// lacking says why there is nothing of a predicate type, and what to do about it.
func (v *verification) lacking(predicateType, remedy string) string {
	if v.unreadable != "" {
		return v.unreadable
	}
	n, err := 0, error(nil)
	for _, r := range v.refused {
		if r.predicate == predicateType || r.predicate == "" {
			n, err = n+1, r.err
		}
	}
	if n > 0 {
		return fmt.Sprintf("none of %d is by %s about this image: %v", n, v.trust.who, err)
	}
	return "there is none; " + remedy
}

// all returns the statements of a predicate type that are about this image alone. Why gets what is wrong with another.
func all[P any](v *verification, predicateType string, why *string) (good []statement[P]) {
	for _, c := range v.claims {
		if c.PredicateType != predicateType {
			continue
		}
		if wrong := v.stray(c); wrong != "" {
			*why = wrong
			continue
		}
		st, err := read[P](c)
		if err != nil {
			*why = "signed, but not readable: " + err.Error()
			continue
		}
		good = append(good, st)
	}
	return good
}

// stray says which subject of c has no business there: everything is about this image's manifests, once each.
func (v *verification) stray(c claim) string {
	seen := map[string]bool{}
	for _, s := range c.Subject {
		hex := s.Digest["sha256"]
		if seen[hex] || !slices.ContainsFunc(v.parts, func(p part) bool { return p.digest.Hex() == hex }) {
			return fmt.Sprintf("it speaks of %.80q too, or twice", s.Name)
		}
		seen[hex] = true
	}
	return ""
}

// newest returns the last statement of a predicate type, or why there is none.
func newest[P any](v *verification, predicateType, remedy string, at func(P) time.Time) (*statement[P], string) {
	why := v.lacking(predicateType, remedy)
	good := all[P](v, predicateType, &why)
	if len(good) == 0 {
		return nil, why
	}
	last := slices.MaxFunc(good, func(a, b statement[P]) int { return at(a.Predicate).Compare(at(b.Predicate)) })
	return &last, ""
}
