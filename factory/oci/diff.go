package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/imagefactory/imagefactory/factory"
)

// Diff names the first difference between the images in two layouts, as one line for a person: platform, layer, path and
// what differs there, or the field of the configuration, manifest or index. It is empty when the images have the same
// digest. Layers are compared before what points to them, because a file is the cause and a digest the effect.
func Diff(ctx context.Context, a, b string) (string, error) {
	ia, err := openIndex(a)
	if err != nil {
		return "", err
	}
	ib, err := openIndex(b)
	if err != nil {
		return "", err
	}
	da, err := ia.Digest()
	if err != nil {
		return "", badLayout(a, err)
	}
	db, err := ib.Digest()
	if err != nil || da == db {
		return "", badLayout(b, err)
	}
	d := differ{ctx: ctx, a: a, b: b}
	return d.index(ia, ib)
}

type differ struct {
	ctx  context.Context
	a, b string
}

func openIndex(dir string) (v1.ImageIndex, error) {
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, badLayout(dir, err)
	}
	m, err := outer.IndexManifest()
	if err != nil {
		return nil, badLayout(dir, err)
	}
	if len(m.Manifests) != 1 || !m.Manifests[0].MediaType.IsIndex() {
		return nil, badLayout(dir, fmt.Errorf("expected one entry, an image index"))
	}
	index, err := outer.ImageIndex(m.Manifests[0].Digest)
	return index, badLayout(dir, err)
}

func badLayout(dir string, err error) error {
	if err == nil {
		return nil
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: "image layout", Where: factory.Position{File: dir}, Cause: err}
}

func (d differ) index(a, b v1.ImageIndex) (string, error) {
	ma, err := a.IndexManifest()
	if err != nil {
		return "", badLayout(d.a, err)
	}
	mb, err := b.IndexManifest()
	if err != nil {
		return "", badLayout(d.b, err)
	}
	pa, pb := byPlatform(ma), byPlatform(mb)
	for _, p := range union(pa, pb) {
		ha, inA := pa[p]
		hb, inB := pb[p]
		switch {
		case !inA || !inB:
			return p + ": platform " + presence(inA), nil
		case ha == hb:
			continue
		}
		ga, err := a.Image(ha)
		if err != nil {
			return "", badLayout(d.a, err)
		}
		gb, err := b.Image(hb)
		if err != nil {
			return "", badLayout(d.b, err)
		}
		if what, err := d.image(ga, gb); err != nil || what != "" {
			return p + ": " + what, err
		}
	}
	ra, errA := a.RawManifest()
	rb, errB := b.RawManifest()
	if errA != nil || errB != nil {
		return "", badLayout(d.a+" or "+d.b, cmpErr(errA, errB))
	}
	return "index: " + firstField(ra, rb), nil
}

func (d differ) image(a, b v1.Image) (string, error) {
	la, err := a.Layers()
	if err != nil {
		return "", badLayout(d.a, err)
	}
	lb, err := b.Layers()
	if err != nil {
		return "", badLayout(d.b, err)
	}
	ma, err := a.Manifest()
	if err != nil {
		return "", badLayout(d.a, err)
	}
	mb, err := b.Manifest()
	if err != nil {
		return "", badLayout(d.b, err)
	}
	na, nb := byName(ma, la), byName(mb, lb)
	repacked := ""
	for _, name := range union(na, nb) {
		switch {
		case na[name] == nil || nb[name] == nil:
			return "layer " + name + ": " + presence(na[name] != nil), nil
		}
		what, err := d.layer(na[name], nb[name])
		if err != nil {
			return "", err
		}
		if what == onlyCompression {
			repacked = "layer " + name + ": " + what
		} else if what != "" {
			return "layer " + name + ": " + what, nil
		}
	}
	ca, errA := a.RawConfigFile()
	cb, errB := b.RawConfigFile()
	if err := cmpErr(errA, errB); err != nil {
		return "", badLayout(d.a+" or "+d.b, err)
	}
	if !bytes.Equal(ca, cb) {
		return "config: " + firstField(ca, cb), nil
	}
	if repacked != "" {
		return repacked, nil
	}
	ra, errA := a.RawManifest()
	rb, errB := b.RawManifest()
	return "manifest: " + firstField(ra, rb), badLayout(d.a+" or "+d.b, cmpErr(errA, errB))
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func presence(first bool) string {
	if first {
		return "only in the first"
	}
	return "only in the second"
}

func byPlatform(m *v1.IndexManifest) map[string]v1.Hash {
	all := map[string]v1.Hash{}
	for i, d := range m.Manifests {
		name := "manifest " + strconv.Itoa(i+1)
		if d.Platform != nil {
			name = d.Platform.String()
		}
		all[name] = d.Digest
	}
	return all
}

// byName keys layers by the factory's name for them, or by their number in an image of somebody else.
func byName(m *v1.Manifest, layers []v1.Layer) map[string]v1.Layer {
	all := map[string]v1.Layer{}
	for i, l := range layers {
		name := m.Layers[i].Annotations[AnnotationLayer]
		if name == "" {
			name = strconv.Itoa(i + 1)
		}
		all[name] = l
	}
	return all
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// firstField names the first field, in the order of names, in which two JSON documents differ.
func firstField(a, b []byte) string {
	var va, vb any
	if json.Unmarshal(a, &va) != nil || json.Unmarshal(b, &vb) != nil {
		return "not JSON"
	}
	if what := fieldDiff("", va, vb); what != "" {
		return what
	}
	return "same fields, written differently"
}

func fieldDiff(at string, a, b any) string {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		for _, k := range union(x, y) {
			if what := fieldDiff(at+"."+k, x[k], y[k]); what != "" {
				return what
			}
		}
		return ""
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			break
		}
		for i := range x {
			if what := fieldDiff(at+"["+strconv.Itoa(i)+"]", x[i], y[i]); what != "" {
				return what
			}
		}
		return ""
	}
	ja, _ := json.Marshal(a) // values that json.Unmarshal made
	jb, _ := json.Marshal(b)
	if bytes.Equal(ja, jb) {
		return ""
	}
	return fmt.Sprintf("%s is %.120s in the first, %.120s in the second", at[min(1, len(at)):], ja, jb)
}
