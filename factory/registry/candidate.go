package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	maxNesting = 3   // of indexes in indexes
	maxLayers  = 512 // that are looked at; no engine runs an image with more
	maxText    = 512 // bytes of a name that an image gives
)

// Why a tag counts as no image. It is nobody's fault: it is counted, and that is all.
const (
	skipAttached = "signatures and other attachments"
	skipSchema1  = "images in the format from before 2016 (schema 1)"
	skipForeign  = "things that are no image: charts, attestations, archives"
	skipEmpty    = "indexes without an image"
	skipMissing  = "tags of which something is not there"
)

// skipped is a tag that names no image.
type skipped string

func (s skipped) Error() string { return string(s) }

// foreign is a manifest or an index of somebody else's: anything can be in it.
type foreign struct {
	SchemaVersion int         `json:"schemaVersion"`
	Config        *loose      `json:"config"`
	Layers        []loose     `json:"layers"`
	Manifests     []loose     `json:"manifests"`
	Annotations   annotations `json:"annotations"`
}

// loose is a descriptor whose digest may be none that we know.
type loose struct {
	MediaType   string      `json:"mediaType"`
	Digest      string      `json:"digest"`
	Size        int64       `json:"size"`
	Annotations annotations `json:"annotations"`
	Platform    struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

type annotations map[string]string

// candidate reads what a tag with this content names: the image of linux/amd64, or the first where there is none. It is skipped when
// it is no image.
func (s *session) candidate(ctx context.Context, tag string, body []byte) (c factory.Candidate, err error) {
	c = factory.Candidate{Repository: s.repo.Name(), Tag: tag, Digest: factory.DigestOf(body)}
	var said []annotations
	for range maxNesting {
		var m foreign
		if err := json.Unmarshal(body, &m); err != nil || m.SchemaVersion == 1 {
			return c, skipped(map[bool]string{true: skipForeign, false: skipSchema1}[err != nil])
		}
		said = append(said, m.Annotations)
		if len(m.Manifests) == 0 {
			c.Manifest = factory.DigestOf(body)
			return c, s.image(ctx, &c, m, said)
		}
		next, ok := choose(m.Manifests)
		if !ok {
			return c, skipped(skipEmpty)
		}
		said = append(said, next.Annotations)
		if body, _, err = s.get(ctx, next.Digest); err != nil {
			return c, err
		}
	}
	return c, skipped(skipEmpty)
}

// choose returns the part of an index to read.
func choose(parts []loose) (loose, bool) {
	var first *loose
	for i, p := range parts {
		if _, err := factory.ParseDigest(p.Digest); err != nil || p.Platform.OS == "unknown" {
			continue
		}
		if p.Platform.OS == "linux" && p.Platform.Architecture == "amd64" {
			return p, true
		}
		if first == nil {
			first = &parts[i]
		}
	}
	if first == nil {
		return loose{}, false
	}
	return *first, true
}

// image fills in what a manifest and its configuration say. What is said of the whole index counts before what is said of a part of
// it, and labels count last: they are inherited from the base.
func (s *session) image(ctx context.Context, c *factory.Candidate, m foreign, said []annotations) error {
	if m.Config == nil || !isConfig(m.Config.MediaType) {
		return skipped(skipForeign)
	}
	body, err := s.small(ctx, *m.Config)
	if err != nil {
		return err
	}
	var config struct {
		Created string `json:"created"`
		Config  struct {
			Labels annotations
		} `json:"config"`
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(body, &config); err != nil {
		return skipped(skipForeign)
	}
	for _, from := range append(said, config.Config.Labels) {
		name, digest := from["org.opencontainers.image.base.name"], from["org.opencontainers.image.base.digest"]
		if name == "" && digest == "" {
			continue
		}
		c.BaseName = strings.ToValidUTF8(name[:min(len(name), maxText)], "")
		c.BaseDigest, _ = factory.ParseDigest(digest)
		break
	}
	c.Created = instant(config.Created)
	for _, from := range said {
		if c.Created.IsZero() {
			c.Created = instant(from["org.opencontainers.image.created"])
		}
	}
	var layers []string
	for _, l := range m.Layers {
		layers = append(layers, l.Digest)
	}
	c.Layers, c.DiffIDs = digests(layers), digests(config.RootFS.DiffIDs)
	return nil
}

func isConfig(mediaType string) bool {
	return mediaType == "application/vnd.oci.image.config.v1+json" || mediaType == "application/vnd.docker.container.image.v1+json"
}

// instant is when an image says it was made; zero when it does not say, or says what reproducible builds say.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1990 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// digests are the lowest layers, up to the first whose digest is none.
func digests(texts []string) (all []factory.Digest) {
	for _, text := range texts[:min(len(texts), maxLayers)] {
		d, err := factory.ParseDigest(text)
		if err != nil {
			break
		}
		all = append(all, d)
	}
	return all
}

// small reads a blob that fits into memory, and checks it.
func (s *session) small(ctx context.Context, d loose) (body []byte, err error) {
	want, err := factory.ParseDigest(d.Digest)
	if err != nil {
		return nil, skipped(skipForeign)
	}
	bad := func(text string, args ...any) error {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: %s", s.host(), fmt.Sprintf(text, args...))}
	}
	if d.Size > maxManifest {
		return nil, bad("the configuration %s has %d bytes, more than %d", short(d.Digest), d.Size, maxManifest)
	}
	err = s.try(ctx, "read "+short(d.Digest), func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url("blobs/"+string(want)).String(), nil)
		if err != nil {
			return err
		}
		resp, err := s.do(req, http.StatusOK)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(io.LimitReader(resp.Body, cmp.Or(max(d.Size, 0), maxManifest)+1))
		return err
	})
	if err != nil {
		return nil, err
	}
	if is := factory.DigestOf(body); is != want {
		return nil, bad("asked for %s, got bytes of %s", want, is)
	}
	return body, nil
}
