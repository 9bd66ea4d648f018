package adoption

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Index knows releases by what an image that is built on them shows of them.
type Index struct {
	releases []factory.Release // newest first
	digests  map[factory.Digest]int
	tags     map[string]int    // repository, and the tag without its environment
	images   map[string]string // by repository
	prefixes map[chain]prefix
}

// chain stands for the lowest layers of an image, in their order.
type chain [sha256.Size]byte

// prefix is who has these lowest layers; -1 = nobody.
type prefix struct {
	whole int // the newest release that has no more than these
	part  int // the newest release that has more
	of    int // how many that one has
}

// NewIndex returns an index of releases, of which Artifact and everything that names them counts.
func NewIndex(releases []factory.Release) *Index {
	x := &Index{releases: slices.Clone(releases), digests: map[factory.Digest]int{}, tags: map[string]int{}, images: map[string]string{}, prefixes: map[chain]prefix{}}
	slices.SortStableFunc(x.releases, func(a, b factory.Release) int { return b.Created.Compare(a.Created) })
	for i, r := range x.releases {
		first(x.digests, r.Digest, i)
		first(x.tags, tagKey(r.Repository, r.Tag), i)
		first(x.images, r.Repository, r.Image)
		for _, p := range r.Artifact.Platforms {
			first(x.digests, p.Digest, i)
			diffIDs, layers := chains(p)
			x.add(i, diffIDs)
			x.add(i, layers)
		}
	}
	return x
}

// first keeps what is there: the newest release comes first.
func first[K comparable, V any](m map[K]V, key K, value V) {
	var none K
	if _, there := m[key]; !there && key != none {
		m[key] = value
	}
}

// tagKey leaves the environment out: a promotion gives the same digest one more tag.
func tagKey(repository string, t factory.Tag) string {
	t.Env = ""
	return repository + ":" + t.String()
}

// chains are the layers of a platform, unpacked and compressed; nil where one is not known.
func chains(p factory.PlatformImage) (diffIDs, layers []factory.Digest) {
	for _, l := range p.Layers {
		diffIDs, layers = append(diffIDs, l.DiffID), append(layers, l.Digest)
	}
	if slices.Contains(diffIDs, "") {
		diffIDs = nil
	}
	if slices.Contains(layers, "") {
		layers = nil
	}
	return diffIDs, layers
}

func (c chain) with(d factory.Digest) chain {
	return sha256.Sum256(append(c[:], d...))
}

func (x *Index) add(release int, layers []factory.Digest) {
	var at chain
	for k, d := range layers {
		at = at.with(d)
		p, there := x.prefixes[at]
		if !there {
			p = prefix{whole: -1, part: -1}
		}
		switch last := k == len(layers)-1; {
		case last && p.whole < 0:
			p.whole = release
		case !last && p.part < 0:
			p.part, p.of = release, len(layers)
		}
		x.prefixes[at] = p
	}
}

// Releases is how many releases the index knows.
func (x *Index) Releases() int { return len(x.releases) }

// Ours reports whether an image is one of our releases, wherever it lies.
func (x *Index) Ours(c factory.Candidate) bool {
	_, index := x.digests[c.Digest]
	_, manifest := x.digests[c.Manifest]
	return index || manifest
}

// base is a release that an image may be built on.
type base struct {
	release    int
	layers, of int
}

func (b base) whole() bool { return b.of > 0 && b.layers == b.of }

// better: whole bases before others, then those with more layers, then newer ones.
func (b base) better(than base) bool {
	switch {
	case b.whole() != than.whole():
		return b.whole()
	case b.layers != than.layers:
		return b.layers > than.layers
	}
	return b.release < than.release
}

// Match returns which release an image is built on, and whether it is built on any. Dependent and At are left to the caller.
func (x *Index) Match(c factory.Candidate) (factory.Observed, bool) {
	o := factory.Observed{Repository: c.Repository, Tag: c.Tag, Digest: c.Digest, Created: c.Created, By: factory.ByLayers}
	below, found := x.below(c)
	said, known := x.said(c)
	switch image := x.images[repositoryOf(c.BaseName)]; {
	case known && !(found && below.whole() && below.layers > said.layers):
		r := x.releases[said.release]
		o.Image, o.Release, o.Base, o.By, o.Layers, o.Of = r.Image, r.ID, r.Digest, factory.ByAnnotation, said.layers, said.of
	case found && below.whole():
		r := x.releases[below.release]
		o.Image, o.Release, o.Layers, o.Of = r.Image, r.ID, below.layers, below.of
	case image != "":
		o.Image, o.Base, o.By = image, c.BaseDigest, factory.ByAnnotation
		if found && x.releases[below.release].Image == image {
			o.Layers, o.Of = below.layers, below.of
		}
	case found:
		o.Image, o.Layers, o.Of = x.releases[below.release].Image, below.layers, below.of
	default:
		return factory.Observed{}, false
	}
	return o, true
}

// below is the best release whose layers lie at the bottom of the image.
func (x *Index) below(c factory.Candidate) (best base, found bool) {
	for _, layers := range [][]factory.Digest{c.DiffIDs, c.Layers} {
		var at chain
		for k, d := range layers {
			at = at.with(d)
			p, there := x.prefixes[at]
			if !there {
				break
			}
			for _, b := range []base{{p.whole, k + 1, k + 1}, {p.part, k + 1, p.of}} {
				if b.release >= 0 && (!found || b.better(best)) {
					best, found = b, true
				}
			}
		}
	}
	return best, found
}

// said is the release that the image itself names, with how many of its layers the image has.
func (x *Index) said(c factory.Candidate) (base, bool) {
	i, known := x.digests[c.BaseDigest]
	if !known && c.BaseDigest == "" {
		repository := repositoryOf(c.BaseName)
		name, _, _ := strings.Cut(c.BaseName, "@")
		tag, err := factory.ParseTag(strings.TrimPrefix(strings.TrimPrefix(name, repository), ":"))
		if err != nil {
			return base{}, false
		}
		i, known = x.tags[tagKey(repository, tag)]
	}
	if !known {
		return base{}, false
	}
	best := base{release: i}
	for _, p := range x.releases[i].Artifact.Platforms {
		diffIDs, layers := chains(p)
		for _, b := range []base{{i, shared(diffIDs, c.DiffIDs), len(diffIDs)}, {i, shared(layers, c.Layers), len(layers)}} {
			if b.of > 0 && (best.of == 0 || b.better(best)) {
				best = b
			}
		}
	}
	return best, true
}

// shared is how many layers two images have in common, from the bottom.
func shared(a, b []factory.Digest) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// repositoryOf is a reference without tag and digest.
func repositoryOf(ref string) string {
	name, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i]
	}
	return name
}
