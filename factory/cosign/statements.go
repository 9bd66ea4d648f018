package cosign

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

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

// statements compares what the provenance says with everything else that is known.
func (v *verification) statements() {
	if v.claim == nil {
		return
	}
	v.subjects()
	v.names()
	v.builder()
	v.source()
	v.labels()
}

func (v *verification) subjects() {
	var lacking []string
	for _, p := range v.parts {
		if !slices.ContainsFunc(v.claim.Subject, func(r resource) bool { return r.Digest["sha256"] == p.digest.Hex() }) {
			lacking = append(lacking, p.name)
		}
	}
	if len(lacking) > 0 {
		v.add("provenance subject", false, "it does not speak of %s", strings.Join(lacking, ", "))
		return
	}
	v.add("provenance subject", true, "it speaks of all %d manifests", len(v.parts))
}

// names compares what the image is called with what it was made as. An image and all that hangs on it can be copied under
// any name, and any tag can be put on it.
func (v *verification) names() {
	made := v.claim.Predicate.BuildDefinition.ExternalParameters
	v.add("provenance image", made.Image == v.ref.Name(), "it speaks of %s, the repository is %s", made.Image, v.ref.Repository)
	if v.ref.Tag != "" {
		v.add("provenance tag", made.Tag.String() == v.ref.Tag, "it speaks of %s", made.Tag)
	}
}

func (v *verification) builder() {
	got, want := v.claim.Predicate.RunDetails.Builder.ID, v.options.Builder
	switch {
	case got == "":
		v.add("builder", false, "the provenance names none")
	case want != "" && got != want:
		v.add("builder", false, "%s, expected %s", got, want)
	default:
		v.add("builder", true, "%s", got)
	}
}

// source compares the tag in the provenance with its commit: the tag's hash is the commit's beginning.
func (v *verification) source() {
	def := v.claim.Predicate.BuildDefinition
	commit, tag := v.commit(), v.claim.tag()
	name := "source"
	if commit == "" && !def.InternalParameters.Dirty {
		v.add(name, false, "the provenance names no commit")
		return
	}
	switch {
	case def.InternalParameters.Dirty && tag.Env != factory.Dev:
		v.add(name, false, "made from inputs that are in no commit, and not for dev only")
	case def.InternalParameters.Dirty:
		v.add(name, true, "made from inputs that are in no commit (%s), for dev only", tag.Hash)
	case !strings.HasPrefix(commit, tag.Hash):
		v.add(name, false, "the tag says %s, the provenance names commit %s", tag.Hash, commit)
	default:
		v.add(name, true, "commit %s", commit)
	}
}

func (v *verification) commit() string {
	for _, r := range v.claim.Predicate.BuildDefinition.ResolvedDependencies {
		if r.Name == "source" {
			return r.Digest["gitCommit"]
		}
	}
	return ""
}

// labels compares what the image says of itself, where it says something.
func (v *verification) labels() {
	commit := v.commit()
	var wrong []string
	compared := 0
	for _, p := range v.parts {
		said := p.notes["org.opencontainers.image.revision"]
		if said == "" || commit == "" {
			continue
		}
		compared++
		if said != commit {
			wrong = append(wrong, fmt.Sprintf("%s says revision %.60s", p.name, said))
		}
	}
	switch {
	case len(wrong) > 0:
		v.add("labels", false, "%s; the provenance says %s", strings.Join(wrong, "; "), commit)
	case compared == 0:
		v.add("labels", true, "none name a revision")
	default:
		v.add("labels", true, "%d name the same revision as the provenance", compared)
	}
}
