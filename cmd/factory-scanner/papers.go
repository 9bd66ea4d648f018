package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/aquasecurity/trivy/pkg/clock"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/sbom/cyclonedx"
	"github.com/aquasecurity/trivy/pkg/sbom/spdx"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/google/uuid"
)

// papers makes the SBOMs of an image. They say what is in it and nothing about vulnerabilities, and depend on the image and its
// name alone: times are the image's own, identifiers come from its digest.
type papers struct {
	name      string
	digest    factory.Digest // of the manifest
	created   time.Time      // zero = the image does not say
	reference artifact.Reference
	size      int64
	matched   matched
}

// report is what Trivy's writers want.
func (p papers) report() types.Report {
	r := types.Report{
		SchemaVersion: 2, ArtifactName: p.name, ArtifactType: ftypes.TypeContainerImage,
		Metadata: types.Metadata{
			ImageID: p.reference.ImageMetadata.ID, DiffIDs: p.reference.ImageMetadata.DiffIDs,
			ImageConfig: p.reference.ImageMetadata.ConfigFile, Size: p.size,
		},
	}
	if p.matched.os.Detected() {
		r.Metadata.OS = &p.matched.os
	}
	for _, part := range p.matched.results {
		part.Packages, part.Vulnerabilities = slices.Clone(part.Packages), nil
		r.Results = append(r.Results, part)
	}
	return r
}

// at makes Trivy believe that now is when the image was made.
func (p papers) at(ctx context.Context) context.Context {
	return clock.With(ctx, time.Unix(max(0, p.created.Unix()), 0).UTC())
}

// id returns the identifier of a thing of this image.
func (p papers) id(thing string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("image factory SBOM\x00"+string(p.digest)+"\x00"+p.name+"\x00"+thing))
}

func (p papers) cyclonedx(ctx context.Context) ([]byte, error) {
	m := cyclonedx.NewMarshaler(trivyVersion)
	doc, err := m.MarshalReport(p.at(ctx), p.report())
	if err != nil {
		return nil, err
	}
	doc.SerialNumber = p.id("cyclonedx").URN()
	doc.Metadata.Component.Version = string(p.digest)
	doc.Vulnerabilities = nil
	p.mark(*doc.Components)
	p.settle(doc)
	var b bytes.Buffer
	err = cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetEscapeHTML(false).Encode(doc)
	return b.Bytes(), err
}

// mark writes down what Trivy does not: which packages are of third parties, so that nobody looks for them in a distribution's
// advisories.
func (p papers) mark(components []cdx.Component) {
	foreign := map[string]bool{}
	for _, part := range p.matched.results {
		for _, pkg := range part.Packages {
			if pkg.Repository.Class == ftypes.RepositoryClassThirdParty {
				foreign[purlOf(pkg.Identifier)] = true
			}
		}
	}
	for i, c := range components {
		if c.PackageURL != "" && foreign[c.PackageURL] {
			var all []cdx.Property
			if c.Properties != nil {
				all = *c.Properties
			}
			all = append(slices.Clip(all), cdx.Property{Name: ownProperty + propertyClass, Value: string(ftypes.RepositoryClassThirdParty)})
			components[i].Properties = &all
		}
	}
}

func (p papers) spdx(ctx context.Context) ([]byte, error) {
	doc, err := spdx.NewMarshaler(trivyVersion).MarshalReport(p.at(ctx), p.report())
	if err != nil {
		return nil, err
	}
	doc.DocumentNamespace = "https://imagefactory.invalid/spdx/" + p.id("spdx").String()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err = e.Encode(doc)
	return b.Bytes(), err
}
