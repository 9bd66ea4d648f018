package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"

	"github.com/aquasecurity/trivy/pkg/cache"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	imageartifact "github.com/aquasecurity/trivy/pkg/fanal/artifact/image"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// image scans one platform's manifest of an OCI layout.
func (s *server) image(ctx context.Context, req scanner.Request) (*scanner.Result, error) {
	if err := s.db.ready(); err != nil {
		return nil, err
	}
	img, err := findImage(req.Layout, req.Digest)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, imageProblem(req, err)
	}
	if p := req.Platform; p != nil && (p.OS != config.OS || p.Architecture != config.Architecture) {
		return nil, imageProblem(req, fmt.Errorf("it is of the platform %s/%s, not %s", config.OS, config.Architecture, p))
	}
	s.temp.enter()
	defer s.temp.leave()
	if err := s.java.prepare(); err != nil {
		return nil, err
	}
	content, err := inspect(ctx, named{img, req.Name})
	if err != nil {
		return nil, imageProblem(req, err)
	}
	m, err := reading(&s.db, func(d described) (matched, error) { return content.match(ctx, d.known) })
	if err != nil {
		return nil, err
	}
	result := m.result()
	papers := papers{name: req.Name, digest: req.Digest, created: config.Created.Time, reference: content.reference, size: content.size, matched: m}
	if result.CycloneDX, err = papers.cyclonedx(ctx); err != nil {
		return nil, err
	}
	result.SPDX, err = papers.spdx(ctx)
	return result, err
}

func imageProblem(req scanner.Request, cause error) error {
	return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("image %s (%s) cannot be read", req.Name, req.Digest.Short()), Cause: cause}
}

// named is an image as Trivy takes it. It has no tags and no repository: it is not published yet.
type named struct {
	v1.Image
	name string
}

// Name is what the image is called.
func (n named) Name() string { return n.name }

// ID is the digest of the configuration.
func (n named) ID() (string, error) {
	h, err := n.ConfigName()
	return h.String(), err
}

// RepoTags is empty.
func (n named) RepoTags() []string { return nil }

// RepoDigests is empty.
func (n named) RepoDigests() []string { return nil }

// findImage looks for a manifest in a layout, in nested indexes too.
func findImage(dir string, digest factory.Digest) (v1.Image, error) {
	want, err := v1.NewHash(string(digest))
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.80q is not a digest", digest)}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &factory.Problem{Kind: factory.ErrNotFound, What: "there is no OCI layout in " + dir}
	}
	if err != nil {
		return nil, layoutProblem(dir, err)
	}
	img, err := within(index, want, 4)
	if err != nil {
		return nil, layoutProblem(dir, err)
	}
	if img == nil {
		err = &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("the OCI layout has no manifest %s", digest.Short())}
	}
	return img, err
}

func layoutProblem(dir string, cause error) error {
	return &factory.Problem{Kind: factory.ErrInvalid, What: dir + " is no OCI layout", Cause: cause}
}

// within looks for an image in an index and the indexes in it, down to a depth. Nil = it is not there.
func within(index v1.ImageIndex, want v1.Hash, depth int) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil || depth == 0 {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if d.Digest == want && d.MediaType.IsImage() {
			return index.Image(want)
		}
		if !d.MediaType.IsIndex() {
			continue
		}
		nested, err := index.ImageIndex(d.Digest)
		if err != nil {
			return nil, err
		}
		if img, err := within(nested, want, depth-1); img != nil || err != nil {
			return img, err
		}
	}
	return nil, nil
}

// content is what was found in an image's layers.
type content struct {
	reference artifact.Reference
	size      int64 // of the layers, unpacked
	applier   applier.Applier
	packages  int // of the distribution
	os        ftypes.OS
}

// inspect reads an image's layers: packages of the distribution and of languages, nothing else.
func inspect(ctx context.Context, img ftypes.Image) (c content, err error) {
	memory := cache.NewMemoryCache()
	a, err := imageartifact.NewArtifact(img, memory, artifact.Option{
		Type: ftypes.TypeContainerImage, Parallel: max(2, runtime.GOMAXPROCS(0)), NoProgress: true, Offline: true, DisabledAnalyzers: unwanted(),
	})
	if err != nil {
		return c, err
	}
	if c.reference, err = a.Inspect(ctx); err != nil {
		return c, err
	}
	c.applier = applier.NewApplier(memory)
	detail, err := c.applier.ApplyLayers(ctx, c.reference.ID, c.reference.BlobIDs)
	if err != nil && !errors.Is(err, analyzer.ErrUnknownOS) && !errors.Is(err, analyzer.ErrNoPkgsDetected) {
		return c, err
	}
	if f := familyOf(detail.OS.Family); f != nil && f.rpm && len(detail.Packages) == 0 {
		// Trivy keeps to itself why it could not read rpm's database.
		return c, fmt.Errorf("it is of %s and has no database of rpm that can be read", distroOf(detail.OS))
	}
	c.packages, c.os, c.size = len(detail.Packages), detail.OS, detail.Layers.TotalSize()
	return c, nil
}

// unwanted are the analyzers that Trivy's own image scan leaves out as well when it is asked for packages.
func unwanted() []analyzer.Type {
	list := []analyzer.Type{
		analyzer.TypeApkCommand, analyzer.TypeSecret, analyzer.TypeLicenseFile, analyzer.TypeHistoryDockerfile,
		analyzer.TypeExecutable, analyzer.TypeRpmArchive,
	}
	return append(append(list, analyzer.TypeLockfiles...), analyzer.TypeConfigFiles...)
}

func (c content) match(ctx context.Context, k known) (matched, error) {
	if err := covered(c.os, c.packages); err != nil {
		return matched{}, err
	}
	r, err := trivy(c.applier).Scan(ctx, c.reference.Name, c.reference.ID, c.reference.BlobIDs, options())
	return matched{r.OS, packagesOnly(r.OS, r.Results), k}, unreadable(err)
}
