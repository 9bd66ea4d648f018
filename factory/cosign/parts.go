package cosign

import (
	"context"
	"encoding/json"
	"io"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
)

// part is the index or one platform's manifest.
type part struct {
	name   string // "the index", "linux/amd64"
	digest factory.Digest
	notes  map[string]string // annotations, and the labels of its configuration
}

// readParts reads every manifest that the index names.
func (v *verification) readParts(ctx context.Context, body []byte) error {
	var index struct {
		Annotations map[string]string `json:"annotations"`
		Manifests   []struct {
			Digest   factory.Digest `json:"digest"`
			Platform struct {
				OS           string `json:"os"`
				Architecture string `json:"architecture"`
			} `json:"platform"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(body, &index); err != nil {
		v.add("contents", false, "the manifest is not readable: %v", err)
		return nil
	}
	if len(index.Manifests) == 0 {
		v.parts = []part{{name: "the image", digest: v.digest, notes: v.notes(ctx, body)}}
		return nil
	}
	v.parts = []part{{name: "the index", digest: v.digest, notes: index.Annotations}}
	for _, m := range index.Manifests {
		p := part{name: m.Platform.OS + "/" + m.Platform.Architecture, digest: m.Digest}
		if _, err := factory.ParseDigest(string(m.Digest)); err != nil {
			v.add("contents of "+p.name, false, "the index names %.80q", string(m.Digest))
			continue
		}
		child, found, err := v.read(ctx, v.repo.Digest(string(m.Digest)))
		if err != nil {
			return err
		}
		if !found || factory.DigestOf(child) != m.Digest {
			v.add("contents of "+p.name, false, "the registry does not have %s", m.Digest)
		} else {
			p.notes = v.notes(ctx, child)
		}
		v.parts = append(v.parts, p)
	}
	return nil
}

// notes gathers a manifest's annotations and its configuration's labels. What cannot be read is left out: the
// signatures decide, this only compares.
func (v *verification) notes(ctx context.Context, body []byte) map[string]string {
	var m struct {
		Annotations map[string]string `json:"annotations"`
		Config      struct {
			Digest factory.Digest `json:"digest"`
		} `json:"config"`
	}
	if json.Unmarshal(body, &m) != nil || m.Config.Digest == "" {
		return m.Annotations
	}
	var config struct {
		Config struct {
			Labels map[string]string `json:"Labels"`
		} `json:"config"`
	}
	err := v.options.Remote.try(ctx, v.repo, "read configuration", func(ctx context.Context) error {
		layer, err := remote.Layer(v.repo.Digest(string(m.Config.Digest)), v.options.Remote.options(ctx)...)
		if err != nil {
			return err
		}
		r, err := layer.Compressed()
		if err != nil {
			return err
		}
		defer r.Close()
		return json.NewDecoder(io.LimitReader(r, 4<<20)).Decode(&config)
	})
	notes := map[string]string{}
	if err == nil {
		for k, label := range config.Config.Labels {
			notes[k] = label
		}
	}
	for k, a := range m.Annotations {
		notes[k] = a
	}
	return notes
}
