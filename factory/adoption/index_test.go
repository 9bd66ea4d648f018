package adoption_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/adoption"
)

var (
	day   = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}
)

const host = "registry.example.com/base/"

func digest(text string) factory.Digest { return factory.DigestOf([]byte(text)) }

// release is the one of the nth day, with these layers.
func release(image string, n int, layers ...string) factory.Release {
	id := fmt.Sprint(image, "/", n)
	r := factory.Release{ID: id, Image: image, Repository: host + image, Digest: digest("index " + id), Created: day.AddDate(0, 0, n),
		Tag: factory.Tag{Date: factory.DateOf(day.AddDate(0, 0, n)), Hash: fmt.Sprintf("%08x", n), Env: factory.Dev}}
	p := factory.PlatformImage{Platform: amd64, Digest: digest("manifest " + id)}
	for _, l := range layers {
		p.Layers = append(p.Layers, factory.Layer{Digest: digest("gz " + l), DiffID: digest(l)})
	}
	r.Artifact = factory.Artifact{Digest: r.Digest, Platforms: []factory.PlatformImage{p}}
	return r
}

// candidate is an image with these layers.
func candidate(layers ...string) factory.Candidate {
	c := factory.Candidate{Repository: "registry.example.com/team/app", Tag: "1", Digest: digest("app"), Manifest: digest("app part"), Created: day}
	for _, l := range layers {
		c.Layers, c.DiffIDs = append(c.Layers, digest("gz "+l)), append(c.DiffIDs, digest(l))
	}
	return c
}

func TestMatch(t *testing.T) {
	t.Parallel()
	old, now := release("debian-12", 0, "a", "b0", "c0"), release("debian-12", 1, "a", "b1", "c1")
	same := release("debian-12", 2, "a", "b1", "c1") // the same layers again
	python := release("debian-12-python", 2, "a", "b1", "c1", "p", "q")
	bare := release("debian-13", 0)
	x := adoption.NewIndex([]factory.Release{python, old, same, now, bare})
	if x.Releases() != 5 {
		t.Error(x.Releases())
	}
	said := func(c factory.Candidate, name string, d factory.Digest) factory.Candidate {
		c.BaseName, c.BaseDigest = name, d
		return c
	}
	compressed, unpacked := candidate("a", "b0", "c0", "x"), candidate("a", "b0", "c0", "x")
	compressed.DiffIDs, unpacked.Layers = nil, nil
	foreign := candidate("m", "n")
	for name, tc := range map[string]struct {
		in   factory.Candidate
		want string // image release by layers/of; empty = none
	}{
		"all layers":                            {candidate("a", "b0", "c0", "x"), "debian-12 debian-12/0 layers 3/3"},
		"compressed alone":                      {compressed, "debian-12 debian-12/0 layers 3/3"},
		"unpacked alone":                        {unpacked, "debian-12 debian-12/0 layers 3/3"},
		"the newest of those with these layers": {candidate("a", "b1", "c1", "x"), "debian-12 debian-12/2 layers 3/3"},
		"the deepest":                           {candidate("a", "b1", "c1", "p", "q", "x"), "debian-12-python debian-12-python/2 layers 5/5"},
		"a whole parent before half a child":    {candidate("a", "b1", "c1", "p", "x"), "debian-12 debian-12/2 layers 3/3"},
		"some layers":                           {candidate("a", "b0", "x"), "debian-12  layers 2/3"},
		"some of the newest's":                  {candidate("a", "x"), "debian-12-python  layers 1/5"},
		"layers in another order":               {candidate("b0", "a", "c0"), ""},
		"nothing of ours":                       {foreign, ""},
		"no layer":                              {candidate(), ""},
		"says it, and has the layers":           {said(candidate("a", "b1", "c1", "x"), "", now.Digest), "debian-12 debian-12/1 annotation 3/3"},
		"says the part's digest":                {said(foreign, "", now.Artifact.Platforms[0].Digest), "debian-12 debian-12/1 annotation 0/3"},
		"says it, and is squashed":              {said(candidate("a", "z"), host+"debian-12:1", old.Digest), "debian-12 debian-12/0 annotation 1/3"},
		"says it with a tag":                    {said(foreign, host+"debian-12:20261123-00000000-prod", ""), "debian-12 debian-12/0 annotation 0/3"},
		"says a tag that we never gave":         {said(foreign, host+"debian-12:20261123-ffffffff-prod", ""), "debian-12  annotation 0/0"},
		"says only whose":                       {said(foreign, host+"debian-12", ""), "debian-12  annotation 0/0"},
		"says whose, and a digest of nobody's":  {said(candidate("a", "b1", "z"), host+"debian-12-python:latest@sha256:00", digest("nobody's")), "debian-12-python  annotation 2/5"},
		"says whose, has others' layers":        {said(candidate("a", "z"), host+"debian-13", ""), "debian-13  annotation 0/0"},
		"inherited its parent's label":          {said(candidate("a", "b1", "c1", "p", "q", "x"), host+"debian-12", now.Digest), "debian-12-python debian-12-python/2 layers 5/5"},
		"says what it has not":                  {said(candidate("a", "b0", "c0"), "", python.Digest), "debian-12 debian-12/0 layers 3/3"},
		"says a release without layers":         {said(foreign, "", bare.Digest), "debian-13 debian-13/0 annotation 0/0"},
		"says somebody else's":                  {said(foreign, "registry.example.com:5000/other", digest("other")), ""},
	} {
		o, built := x.Match(tc.in)
		got := fmt.Sprintf("%s %s %s %d/%d", o.Image, o.Release, o.By, o.Layers, o.Of)
		if tc.want == "" && built || tc.want != "" && got != tc.want {
			t.Errorf("%s: %s, want %q", name, got, tc.want)
		}
		if built && (o.Repository != tc.in.Repository || o.Tag != "1" || o.Digest != tc.in.Digest || !o.Created.Equal(day)) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	copied := candidate("a")
	copied.Digest = now.Digest
	part := candidate("a")
	part.Manifest = old.Artifact.Platforms[0].Digest
	if !x.Ours(copied) || !x.Ours(part) || x.Ours(candidate("a", "b1", "c1")) {
		t.Error("what our own images are is not known")
	}
}

// A release whose layers are known by one digest only is found by that one.
func TestMatchWithoutDiffIDs(t *testing.T) {
	t.Parallel()
	gz, raw := release("debian-12", 0, "a", "b"), release("debian-13", 0, "m", "n")
	for i := range 2 {
		gz.Artifact.Platforms[0].Layers[i].DiffID = ""
		raw.Artifact.Platforms[0].Layers[i].Digest = ""
	}
	x := adoption.NewIndex([]factory.Release{gz, raw})
	for image, c := range map[string]factory.Candidate{"debian-12": candidate("a", "b"), "debian-13": candidate("m", "n")} {
		if o, built := x.Match(c); !built || o.Image != image || o.Layers != 2 {
			t.Errorf("%+v", o)
		}
	}
}

// The index finds what looking at every release finds.
func TestMatchIsTheBestOfAll(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	layers := func(most int) (all []string) {
		for range rng.IntN(most + 1) {
			all = append(all, string(rune('a'+rng.IntN(2))))
		}
		return all
	}
	for range 3000 {
		var releases []factory.Release
		stacks := map[string][]string{}
		for n := range rng.IntN(6) {
			r := layers(4)
			releases = append(releases, release("debian", n, r...))
			stacks[releases[n].ID] = r
		}
		slices.SortFunc(releases, func(a, b factory.Release) int { return b.Created.Compare(a.Created) })
		mine := layers(6)
		best, id, whole := 0, "", false
		for _, r := range releases { // newest first
			have := stacks[r.ID]
			n := 0
			for n < min(len(have), len(mine)) && have[n] == mine[n] {
				n++
			}
			all := n > 0 && n == len(have)
			if n > 0 && (all && !whole || all == whole && n > best) {
				best, id, whole = n, r.ID, all
			}
		}
		if !whole {
			id = ""
		}
		shuffled := slices.Clone(releases)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		o, built := adoption.NewIndex(shuffled).Match(candidate(mine...))
		if built != (best > 0) || o.Release != id || o.Layers != best || built && whole != (o.Layers == o.Of) {
			t.Fatalf("%v on %v: %+v, want %q with %d", mine, stacks, o, id, best)
		}
		// What lies on top changes nothing.
		if again, _ := adoption.NewIndex(releases).Match(candidate(append(slices.Clone(mine), "top", "most")...)); again != o {
			t.Fatalf("%v: %+v, with more on top %+v", mine, o, again)
		}
	}
}
