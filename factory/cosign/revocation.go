package cosign

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// revocation says that nobody may use an image any more.
type revocation struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Revoke returns the signed statement that nobody may use digest any more: why, by whom (user@host) and since when. It takes
// effect when it is attached, and nothing here takes it away again. Nothing is sent to the registry. A revocation without a
// reason is ErrInvalid.
func (s *Signer) Revoke(ctx context.Context, repository string, digest factory.Digest, reason, by string, at time.Time) ([]factory.Signature, error) {
	if strings.TrimSpace(reason) == "" {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "a revocation without a reason", Hint: "say in a sentence what is wrong with the image"}
	}
	d, err := draftOf(RevocationType, subjects(repository, digest), revocation{Reason: reason, By: by, At: seconds(at)})
	if err != nil {
		return nil, err
	}
	return s.attest(ctx, repository, d)
}

// revocation looks for a revocation by whom is trusted, and asks whoever else may know of one. One that is signed counts,
// however little of it can be read.
func (v *verification) revocation(ctx context.Context) error {
	const name = "revocation"
	for _, c := range v.claims {
		if c.PredicateType != RevocationType {
			continue
		}
		r, err := read[revocation](c)
		why := cmp.Or(r.Predicate.Reason, "no reason is readable")
		if err == nil && !r.Predicate.At.IsZero() {
			why = fmt.Sprintf("by %s on %s: %s", cmp.Or(r.Predicate.By, "somebody"), minute(r.Predicate.At), why)
		}
		v.add(name, false, "revoked %s", why)
		return nil
	}
	if v.options.Revoked != nil {
		why, err := v.options.Revoked(ctx, v.digest)
		if err != nil {
			return err
		}
		if why != "" {
			v.add(name, false, "revoked: %s", why)
			return nil
		}
	}
	v.add(name, true, "%s has not revoked it", v.trust.who)
	return nil
}
