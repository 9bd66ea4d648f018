package cosign

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// Promote returns the attestation that the gate of a further environment let digest in, where it will have tag. inputs are
// the attestations that the gate looked at, as far as they are known. Nothing is sent to the registry. ErrBlocked when the
// decision blocks, ErrInvalid when it is about something else.
func (s *Signer) Promote(ctx context.Context, repository string, digest factory.Digest, tag factory.Tag, d factory.Decision, inputs ...factory.Signature) ([]factory.Signature, error) {
	if !d.Pass || len(d.Blocking()) > 0 {
		return nil, &factory.Problem{Kind: factory.ErrBlocked, What: fmt.Sprintf("the decision does not let %s pass into %s", digest.Short(), tag.Env)}
	}
	made, err := s.decisionOf(repository, subjects(repository, digest), tag, d, inputs)
	if err != nil {
		return nil, err
	}
	return s.attest(ctx, repository, made)
}

// Rescan is what another look at a release brought.
type Rescan struct {
	Scan factory.Scan
	VEX  []byte // OpenVEX document
	// Decisions are what the gates now say, by the tag that the release has in their environment. One that blocks is attested
	// as failed: from then on that tag does not verify any more. Tags that are left out keep the decision they have.
	Decisions map[factory.Tag]factory.Decision
}

// Rescanned returns the attestations of another look at a release: a new vulnerability report, VEX, and decisions. They
// replace the earlier ones when they are attached. Nothing is sent to the registry.
func (s *Signer) Rescanned(ctx context.Context, repository string, a factory.Artifact, r Rescan) ([]factory.Signature, error) {
	about := subjects(repository, a.Digest, platforms(a)...)
	report, err := s.reportOf(about, r.Scan)
	if err != nil {
		return nil, err
	}
	vex, err := vexOf(about, r.VEX)
	if err != nil {
		return nil, err
	}
	all, err := s.attest(ctx, repository, report, vex)
	if err != nil {
		return nil, err
	}
	var decisions []draft
	for _, tag := range slices.SortedFunc(maps.Keys(r.Decisions), factory.Tag.Compare) {
		d, err := s.decisionOf(repository, about, tag, r.Decisions[tag], all)
		if err != nil {
			return nil, err
		}
		decisions = append(decisions, d)
	}
	more, err := s.attest(ctx, repository, decisions...)
	return append(all, more...), err
}

// attest signs drafts.
func (s *Signer) attest(ctx context.Context, repository string, drafts ...draft) ([]factory.Signature, error) {
	if _, err := s.Remote.repository(repository); err != nil || len(drafts) == 0 {
		return nil, err
	}
	key, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	var work []func() (factory.Signature, error)
	for _, d := range drafts {
		work = append(work, func() (factory.Signature, error) { return key.attest(ctx, d) })
	}
	return together(work)
}
