package cosign

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// summary is a SLSA verification summary.
type summary struct {
	Verifier           builder    `json:"verifier"`
	TimeVerified       time.Time  `json:"timeVerified"`
	ResourceURI        string     `json:"resourceUri"` // repository:tag@digest
	Policy             resource   `json:"policy"`
	InputAttestations  []resource `json:"inputAttestations"`
	VerificationResult string     `json:"verificationResult"`
	VerifiedLevels     []string   `json:"verifiedLevels"`
	SLSAVersion        string     `json:"slsaVersion"`
	// Decision is our own: why. A consumer who does not know it may leave it out.
	Decision *decision `json:"decision,omitempty"`
}

type decision struct {
	Tag factory.Tag `json:"tag"`
	factory.Decision
}

const (
	passed     = "PASSED"
	failedOnce = "FAILED"
)

// decisionOf is the statement with what the gate of an environment said of an image that has, or is to have, tag there.
// inputs are the attestations that it looked at. A decision about anything else is ErrInvalid.
func (s *Signer) decisionOf(repository string, about []resource, tag factory.Tag, d factory.Decision, inputs []factory.Signature) (draft, error) {
	if about[0].Digest["sha256"] != d.Digest.Hex() || tag.Env != d.Env {
		return draft{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("a decision about %s and %s says nothing of %s", d.Digest.Short(), d.Env, tag)}
	}
	d.Database.Origin = "" // the host of a mirror, or a folder
	p := summary{
		Verifier: s.builder(), TimeVerified: seconds(d.At),
		ResourceURI:       factory.Ref{Repository: repository, Tag: tag.String(), Digest: d.Digest}.String(),
		Policy:            resource{URI: "urn:imagefactory:policy:" + string(d.Env) + ":" + url.PathEscape(d.Pack), Digest: sha(d.Policy)},
		InputAttestations: []resource{}, VerificationResult: passed, SLSAVersion: "1.1",
		// The gate judges the content of an image and not the place where it was built.
		VerifiedLevels: []string{"SLSA_BUILD_LEVEL_UNEVALUATED", "IMAGEFACTORY_" + strings.ToUpper(string(d.Env))},
		Decision:       &decision{tag, d},
	}
	if !d.Pass || len(d.Blocking()) > 0 {
		p.VerificationResult, p.VerifiedLevels = failedOnce, []string{failedOnce}
	}
	for _, i := range inputs {
		if envelope := factory.DigestOf(i.Payload); i.Predicate != "" {
			p.InputAttestations = append(p.InputAttestations, resource{Name: i.Predicate, URI: repository + "@" + string(envelope), Digest: sha(envelope)})
		}
	}
	slices.SortFunc(p.InputAttestations, func(a, b resource) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.URI, b.URI)) })
	return draftOf(DecisionType, about, p)
}

// resource is what was decided about; the zero Ref when that is not readable.
func (s summary) resource() factory.Ref {
	ref, err := factory.ParseRef(s.ResourceURI)
	if err != nil {
		return factory.Ref{}
	}
	return ref
}

// decide finds the gate's newest decision about what is looked at: about the tag; of a digest alone, about any tag of this
// image, for the environment that is asked for. Where several tags qualify, one that passed is enough.
func (v *verification) decide() {
	latest := map[string]summary{} // by tag
	why := v.lacking(DecisionType, rescan)
	for _, st := range all[summary](v, DecisionType, &why) {
		s := st.Predicate
		if wrong := v.misplaced(s); wrong != "" {
			why = wrong
			continue
		}
		tag := s.resource().Tag
		// Of two at the same instant, the one that blocks counts.
		if old, there := latest[tag]; !there || s.TimeVerified.After(old.TimeVerified) ||
			s.TimeVerified.Equal(old.TimeVerified) && s.VerificationResult != passed {
			latest[tag] = s
		}
	}
	v.undecided = why
	best := slices.SortedFunc(maps.Values(latest), func(a, b summary) int {
		return cmp.Or(rank(b)-rank(a), b.TimeVerified.Compare(a.TimeVerified), cmp.Compare(a.ResourceURI, b.ResourceURI))
	})
	if len(best) > 0 {
		v.decided = &best[0]
	}
}

func rank(s summary) int {
	if s.VerificationResult == passed {
		return 1
	}
	return 0
}

// misplaced says why a summary decides nothing about what is looked at.
func (v *verification) misplaced(s summary) string {
	about := s.resource()
	tag, err := factory.ParseTag(about.Tag)
	switch {
	case err != nil:
		return fmt.Sprintf("it speaks of %.120q", s.ResourceURI)
	case about.Digest != v.digest || about.Name() != v.ref.Name() || v.ref.Tag != "" && about.Tag != v.ref.Tag:
		return "it speaks of " + about.String()
	case v.options.Env != "" && tag.Env != v.options.Env:
		return fmt.Sprintf("it speaks of %s, %s is asked for", tag, v.options.Env)
	case s.Decision != nil && (s.Decision.Tag != tag || s.Decision.Env != tag.Env || s.Decision.Digest != v.digest):
		return fmt.Sprintf("it contradicts itself: %s and %s", tag, s.Decision.Tag)
	case v.options.Builder != "" && s.Verifier.ID != v.options.Builder:
		return fmt.Sprintf("it is by %s, expected %s", s.Verifier.ID, v.options.Builder)
	}
	return ""
}

// allowed reports whether the gate let the image in under exactly this tag.
func (v *verification) allowed(tag string) bool {
	return v.decided != nil && v.decided.resource().Tag == tag && v.decided.VerificationResult == passed
}

func (v *verification) decision() {
	const name = "decision"
	if v.decided == nil {
		v.add(name, false, "%s", v.undecided)
		return
	}
	s := v.decided
	tag := s.resource().Tag
	says := fmt.Sprintf("on %s, by %s %s", minute(s.TimeVerified), strings.TrimPrefix(s.Policy.URI, "urn:imagefactory:policy:"), factory.Digest(s.Policy.Digest["sha256"]).Short())
	if s.VerificationResult != passed {
		var reasons []string
		if s.Decision != nil {
			for _, r := range s.Decision.Blocking() {
				reasons = append(reasons, r.Text)
			}
		}
		v.add(name, false, "%s was refused %s: %s", tag, says, cmp.Or(strings.Join(reasons, "; "), "nobody says why"))
		return
	}
	if s.Decision != nil && len(s.Decision.Waived) > 0 {
		says += fmt.Sprintf(", with %d waived", len(s.Decision.Waived))
	}
	// An old decision, put back, must not outlive what was found since.
	if late := v.late(s.TimeVerified); late != "" {
		v.add(name, false, "it was made %s: %s was let in %s; decide anew: factory rescan", late, tag, says)
		return
	}
	v.add(name, true, "%s was let in %s", tag, says)
}
