package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// content is everything an image is made of, read from an OCI layout.
type content struct {
	manifests []manifest // children before parents, the index last
	blobs     []blob     // once each, largest first
}

type manifest struct {
	digest    factory.Digest
	mediaType string
	body      []byte
}

type blob struct {
	digest factory.Digest
	size   int64
	file   string
}

// descriptor is the part of an OCI descriptor that matters here.
type descriptor struct {
	MediaType string         `json:"mediaType"`
	Digest    factory.Digest `json:"digest"`
	Size      int64          `json:"size"`
}

// baseName is the annotation of an image that says what it is built on.
const baseName = "org.opencontainers.image.base.name"

// base returns the repository of what the image is built on, when that is another one of the session's registry.
func (c content) base(s *session) string {
	if len(c.manifests) == 0 {
		return ""
	}
	var m struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(c.manifests[len(c.manifests)-1].body, &m) != nil {
		return ""
	}
	ref, err := factory.ParseRef(m.Annotations[baseName])
	if err != nil {
		return ""
	}
	repo, err := s.client.repository(ref.Repository)
	if err != nil || repo.RegistryStr() != s.repo.RegistryStr() || repo.RepositoryStr() == s.repo.RepositoryStr() {
		return ""
	}
	return repo.RepositoryStr()
}

func (c content) size() (n int64) {
	for _, b := range c.blobs {
		n += b.size
	}
	return n
}

// readLayout walks the image a from its index down. It verifies every manifest's digest and every blob's size; the
// blobs' bytes are verified by the registry that takes them.
func readLayout(a factory.Artifact) (content, error) {
	var c content
	seen := map[factory.Digest]bool{}
	if err := c.walk(a.Layout, descriptor{Digest: a.Digest}, seen); err != nil {
		return content{}, err
	}
	for _, p := range a.Platforms {
		if !seen[p.Digest] {
			return content{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("image %s has no manifest %s for %s", a.Digest, p.Digest, p.Platform)}
		}
	}
	slices.SortFunc(c.blobs, func(a, b blob) int { return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.digest, b.digest)) })
	return c, nil
}

func (c *content) walk(dir string, d descriptor, seen map[factory.Digest]bool) error {
	if seen[d.Digest] {
		return nil
	}
	seen[d.Digest] = true
	file := filepath.Join(dir, "blobs", "sha256", d.Digest.Hex())
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return damaged(dir, d.Digest, "is missing")
	case err != nil:
		return err
	case d.Size != 0 && info.Size() != d.Size:
		return damaged(dir, d.Digest, fmt.Sprintf("has %d bytes instead of %d", info.Size(), d.Size))
	case d.Size != 0 && !isManifest(d.MediaType):
		c.blobs = append(c.blobs, blob{digest: d.Digest, size: d.Size, file: file})
		return nil
	case info.Size() > maxManifest:
		return damaged(dir, d.Digest, "is too large for a manifest")
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if factory.DigestOf(body) != d.Digest {
		return damaged(dir, d.Digest, "has other content")
	}
	var m struct {
		MediaType string       `json:"mediaType"`
		Config    *descriptor  `json:"config"`
		Layers    []descriptor `json:"layers"`
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return damaged(dir, d.Digest, "is not a manifest: "+err.Error())
	}
	children := append(m.Manifests, m.Layers...)
	if m.Config != nil {
		children = append(children, *m.Config)
	}
	for _, child := range children {
		if _, err := factory.ParseDigest(string(child.Digest)); err != nil || child.Size <= 0 {
			return damaged(dir, d.Digest, "names a part without digest or size")
		}
		if err := c.walk(dir, child, seen); err != nil {
			return err
		}
	}
	c.manifests = append(c.manifests, manifest{digest: d.Digest, mediaType: cmp.Or(m.MediaType, d.MediaType, "application/vnd.oci.image.index.v1+json"), body: body})
	return nil
}

func isManifest(mediaType string) bool {
	switch mediaType {
	case "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json":
		return true
	}
	return false
}

func damaged(dir string, d factory.Digest, why string) error {
	return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("image on disk: %s in %s %s", d, dir, why), Hint: "build it again"}
}
