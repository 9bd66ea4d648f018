package main

import (
	"context"
	"fmt"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/sbom/core"
	sbomio "github.com/aquasecurity/trivy/pkg/sbom/io"
	"github.com/aquasecurity/trivy/pkg/types"
)

// sbom matches a CycloneDX document against the open database.
func (s *server) sbom(ctx context.Context, document []byte) (*scanner.Result, error) {
	if err := s.db.ready(); err != nil {
		return nil, err
	}
	target, err := targetOf(ctx, document)
	if err != nil {
		return nil, err
	}
	m, err := s.matchTarget(ctx, target)
	if err != nil {
		return nil, err
	}
	return m.result(), nil
}

// targetOf reads the packages that a document lists.
func targetOf(ctx context.Context, document []byte) (target types.ScanTarget, err error) {
	b, err := parseBOM(document)
	if err != nil {
		return target, err
	}
	bom, err := b.core()
	if err != nil {
		return target, err
	}
	var read types.SBOM
	if err := sbomio.NewDecoder(bom).Decode(ctx, &read); err != nil {
		return target, sbomProblem("it contradicts itself", err)
	}
	target = types.ScanTarget{Name: b.name, Applications: read.Applications}
	if read.Metadata.OS != nil {
		target.OS = *read.Metadata.OS
	}
	for _, p := range read.Packages {
		target.Packages = append(target.Packages, p.Packages...)
	}
	b.restore(target.Packages)
	if len(target.Packages) > 0 && target.OS.Family == "" {
		return target, sbomProblem("it lists a distribution's packages, and not which distribution", nil)
	}
	return target, nil
}

// restore gives packages back what Trivy's decoder does not read.
func (b *bom) restore(packages []ftypes.Package) {
	foreign := map[string]bool{}
	for _, c := range b.components {
		if c.Properties.has(propertyClass, string(ftypes.RepositoryClassThirdParty)) {
			foreign[c.Ref] = true
		}
	}
	for i, p := range packages {
		if foreign[p.Identifier.BOMRef] {
			packages[i].Repository.Class = ftypes.RepositoryClassThirdParty
		}
	}
}

func sbomProblem(what string, cause error) error {
	return &factory.Problem{Kind: factory.ErrInvalid, What: "the SBOM is not one that this scanner made: " + what, Cause: cause}
}

// core is the document as Trivy's decoder takes it. Of what depends on what, only which package belongs to the distribution and
// which to an application is kept: Trivy would follow dependencies between packages down to any depth.
func (b *bom) core() (*core.BOM, error) {
	out := core.NewBOM(core.Options{})
	known := make(map[string]*core.Component, len(b.components)+1)
	systems := 0
	for i, c := range b.components {
		converted, err := c.core()
		if err != nil {
			return nil, err
		}
		if converted.Type == core.TypeOS {
			systems++
		}
		if known[c.Ref] != nil || c.Ref == "" {
			return nil, sbomProblem(fmt.Sprintf("component %d has the reference %.80q of another", i+1, c.Ref), nil)
		}
		known[c.Ref] = converted
		out.AddComponent(converted)
	}
	if systems > 1 {
		return nil, sbomProblem(fmt.Sprintf("it is of %d distributions", systems), nil)
	}
	b.relate(out, known)
	return out, nil
}

// relate says which package belongs to the distribution and to which application.
func (b *bom) relate(out *core.BOM, known map[string]*core.Component) {
	taken := make(map[string]bool, len(b.components))
	for _, kind := range []core.ComponentType{core.TypeOS, core.TypeApplication} {
		for _, c := range b.components {
			if parent := known[c.Ref]; parent.Type == kind {
				for _, ref := range b.below(c.Ref, taken) {
					if child := known[ref]; child != nil && child.Type == core.TypeLibrary {
						out.AddRelationship(parent, child, core.RelationshipContains)
					}
				}
			}
		}
	}
}

// below returns what is reached from a component and not taken yet, and takes it.
func (b *bom) below(ref string, taken map[string]bool) (refs []string) {
	queue := b.dependencies[ref]
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if !taken[next] {
			taken[next] = true
			refs = append(refs, next)
			queue = append(queue, b.dependencies[next]...)
		}
	}
	return refs
}

var componentTypes = map[string]core.ComponentType{
	"operating-system": core.TypeOS, "application": core.TypeApplication, "library": core.TypeLibrary,
}

func (c component) core() (*core.Component, error) {
	kind, ok := componentTypes[c.Type]
	if !ok {
		return nil, sbomProblem(fmt.Sprintf("%.80q is of the type %.40q", c.Name, c.Type), nil)
	}
	purl, err := c.purl()
	if err != nil {
		return nil, err
	}
	return &core.Component{
		Type: kind, Name: c.Name, Group: c.Group, Version: c.Version, Properties: core.Properties(c.Properties),
		PkgIdentifier: ftypes.PkgIdentifier{BOMRef: c.Ref, PURL: purl},
	}, nil
}
