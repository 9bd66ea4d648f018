package cosign

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// RebaseBuildType says how to read the parameters of the provenance of an image that was not built: layers of others were put together.
const RebaseBuildType = "https://github.com/imagefactory/imagefactory/build-types/rebase/v1"

// exchange is the predicate of RebaseType.
type exchange struct {
	Statement string    `json:"statement"` // in words
	Image     resource  `json:"image"`     // as it was
	OldBase   resource  `json:"oldBase"`
	NewBase   resource  `json:"newBase"`
	Rebaser   builder   `json:"rebaser"`
	Run       string    `json:"run,omitempty"`
	RebasedOn time.Time `json:"rebasedOn"`
	// Checks are the rules that were held against it, and what they found.
	Checks []factory.RebaseCheck `json:"checks"`
	// Carried says which evidence is that of other images.
	Carried []string `json:"carried"`
}

const nothingBuilt = "Nothing was built. The layers of the old base, which were the lowest of the image, were exchanged for those of the new base; the image's own layers are as they were."

// baseResource is a release or an image as something that others are made of.
func baseResource(name string, b factory.Base) resource {
	return resource{Name: name, URI: b.Ref(), Digest: sha(b.Digest)}
}

// rebaseOf is the statement about an exchange.
func (s *Signer) rebaseOf(about []resource, r factory.Rebase) (draft, error) {
	p := exchange{Statement: nothingBuilt, Image: baseResource("image", r.Before), OldBase: baseResource("old base", r.From), NewBase: baseResource("new base", r.Onto),
		Rebaser: s.builder(), Run: s.Run, Checks: r.Checks, Carried: append([]string{}, r.Carried...)}
	if s.Now != nil {
		p.RebasedOn = seconds(s.Now())
	}
	return draftOf(RebaseType, about, p)
}

// Rebase returns the attestation that the base below an image of somebody else was exchanged. It is no signature of the image: whose it is
// signs it. Nothing is sent to the registry.
func (s *Signer) Rebase(ctx context.Context, repository string, a factory.Artifact, r factory.Rebase) ([]factory.Signature, error) {
	d, err := s.rebaseOf(subjects(repository, a.Digest, distinct(a)...), r)
	if err != nil {
		return nil, err
	}
	return s.attest(ctx, repository, d)
}

// distinct are the platforms of an image, without one that is the whole image.
func distinct(a factory.Artifact) (all []factory.PlatformImage) {
	for _, p := range platforms(a) {
		if p.Digest != a.Digest {
			all = append(all, p)
		}
	}
	return all
}

// rebasedFrom is the provenance of a rebased image. It names what was put together and claims no build.
func (s *Signer) rebasedFrom(about []resource, a factory.Approved) (draft, error) {
	r, finished := *a.Job.Rebase, a.At
	if s.Now != nil {
		finished = s.Now()
	}
	return draftOf(ProvenanceType, about, provenance{
		BuildDefinition: buildDefinition{
			BuildType:          RebaseBuildType,
			ExternalParameters: externalParameters{Image: a.Job.Image.Name, Env: a.Job.Env, Platforms: a.Job.Image.Platforms, Tag: tagOf(a)},
			InternalParameters: internalParameters{
				Definition: a.Lock.Definition, Timestamp: a.Lock.Timestamp.UTC(), Reason: a.Job.Reason, Dirty: a.Job.Source.Dirty, Supersedes: a.Job.Supersedes,
			},
			ResolvedDependencies: []resource{baseResource("image", r.Before), baseResource("old base", r.From), baseResource(baseName, r.Onto), source(a.Job.Source)},
		},
		RunDetails: runDetails{Builder: s.builder(), Metadata: runMetadata{InvocationID: s.Run, StartedOn: seconds(a.At), FinishedOn: seconds(finished)}},
	})
}

// rebased reports whether the provenance is that of an exchange of bases.
func (v *verification) rebased() bool {
	return v.made != nil && v.made.Predicate.BuildDefinition.BuildType == RebaseBuildType
}

// rebase compares provenance, tag and the attestation of the exchange, and looks for the provenance of the image as it was: that is where
// the build is told.
func (v *verification) rebase(ctx context.Context) {
	const name = "rebase"
	why := v.lacking(RebaseType, rebuild)
	said := all[exchange](v, RebaseType, &why)
	before, onto := v.dependency("image"), v.dependency(baseName)
	var r factory.Rebase
	r.Before.Digest, r.Onto.Digest = before.Digest, onto.Digest
	tag := v.made.Predicate.tag()
	for _, st := range said {
		e := st.Predicate
		switch {
		case e.Image.Digest["sha256"] != before.Digest.Hex() || e.NewBase.Digest["sha256"] != onto.Digest.Hex():
			why = "it speaks of another image or base than the provenance"
		case r.Hash() != tag.Hash:
			why = fmt.Sprintf("the tag's %s is not that of the image and the base, %s", tag.Hash, r.Hash())
		case refusedChecks(e.Checks) != "":
			why = "it says that a rule did not hold: " + refusedChecks(e.Checks)
		default:
			v.add(name, true, "nothing was built: %s was put on %s, %d rules held, carried: %d", before.Digest.Short(), onto.Digest.Short(), len(e.Checks), len(e.Carried))
			v.origin(ctx, before)
			return
		}
	}
	v.add(name, false, "%s", why)
}

func refusedChecks(checks []factory.RebaseCheck) string {
	var all []string
	for _, c := range checks {
		if !c.OK {
			all = append(all, c.Rule)
		}
	}
	if len(checks) == 0 {
		return "none was looked at"
	}
	return strings.Join(all, ", ")
}

// dependency is what the provenance names; the zero Ref when it does not.
func (v *verification) dependency(name string) factory.Ref {
	for _, d := range v.made.Predicate.BuildDefinition.ResolvedDependencies {
		if ref, err := factory.ParseRef(d.URI); d.Name == name && err == nil {
			return ref
		}
	}
	return factory.Ref{}
}

// origin looks for what the trusted key says of the making of the image before the rebase: beside this image, where copies of it are kept
// together, and where it was. That there is none is told and is no fault: what is not used any more may be deleted, and the statement about
// the exchange is signed.
func (v *verification) origin(ctx context.Context, before factory.Ref) {
	const name = "rebased image"
	for _, repository := range []string{v.ref.Repository, before.Repository} {
		repo, err := v.options.Remote.repository(repository)
		if err != nil {
			continue
		}
		attached, err := v.options.Remote.attached(ctx, repo, before.Digest, attestations)
		if err != nil {
			continue
		}
		claims, _ := v.trust.claims(ctx, attached, before.Digest)
		for _, c := range claims {
			st, err := read[provenance](c)
			if err != nil || c.PredicateType != ProvenanceType {
				continue
			}
			made := st.Predicate.BuildDefinition.ExternalParameters.Image
			v.add(name, made == v.ref.Name(), "%s attests a run%s that made %s of %s", v.trust.who, prefixed(" ", st.Predicate.RunDetails.Metadata.InvocationID), before.Digest.Short(), made)
			return
		}
	}
	v.add(name, true, "its own provenance is not there any more: %s", before)
}
