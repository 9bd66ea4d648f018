package graph_test

import (
	"slices"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
)

func TestOutside(t *testing.T) {
	t.Parallel()
	fresh, old := released("debian-12", hour, nil), released("debian-12", 5*day, nil)
	follows := func(name string, env factory.Env) factory.Dependent {
		return factory.Dependent{Name: name, Image: "debian-12", Env: env, Owner: "team-" + name, Tell: factory.Tell{How: factory.TellWebhook}}
	}
	seen := func(repository, dependent string, base *graph.Release) factory.Observed {
		return factory.Observed{Repository: "registry.example.com/" + repository, Tag: "1", Created: now.Add(-2 * hour), Image: "debian-12", Base: base.Digest, Dependent: dependent, By: "annotation"}
	}
	canary, lost, before, bare := follows("canary", factory.Dev), seen("lost", "", fresh), seen("api", "payments", fresh), seen("bare", "", fresh)
	canary.Canary = true
	lost.Base, lost.Release = "", ""
	before.Tag, before.Created = "0", now.Add(-9*day)
	bare.Base, bare.Release, bare.By = "", fresh.ID, "layers"
	elsewhere := seen("api", "payments", fresh)
	elsewhere.Image, elsewhere.Release = "alpine", "r-1"
	unsure := seen("unsure", "unsure", fresh)
	unsure.Base = ""
	dated := seen("dated", "", old)
	dated.Base, dated.Release, dated.By = "", "r-old", "layers"
	in := graph.Input{At: now, Outside: true, Images: []factory.Image{image("debian-12", ""), image("app", "debian-12")},
		Facts:      map[string]graph.Facts{"debian-12": {Newest: fresh, InForce: []graph.Standing{standing(factory.Dev, fresh), standing(factory.Prod, old)}}},
		Dependents: []factory.Dependent{follows("payments", factory.Prod), canary, follows("shop", factory.Dev), follows("unsure", factory.Dev)},
		Observed: []factory.Observed{before, seen("api", "payments", old), seen("shop", "shop", old), seen("shop2", "shop", fresh), seen("free", "", old), seen("stranger", "nobody", released("debian-12", 30*day, nil)),
			lost, bare, elsewhere, unsure, dated},
		Tags: map[string]factory.Tag{"r-old": old.Tag}}
	want := `debian 12|||||2 images, packages from debian, debian-security
└─ debian-12|20261123-1a2b3c4d-dev|1 h|dev prod (5 d)||ok
   ├─ app|||||never: no release yet
   ├─ canary|||||unknown: nothing that it publishes was observed; follows dev of debian-12, told by webhook, a canary
   ├─ payments|||||ok; follows prod of debian-12, told by webhook
   │  └─ registry.example.com/api:1||2 h|||ok; observed by its annotation, with 1 older image
   ├─ shop|||||behind: 1 of 2 repositories behind; follows dev of debian-12, told by webhook
   │  ├─ registry.example.com/shop:1||2 h|||behind: built on ` + old.Digest.Short() + ` of debian-12, which has 20261123-1a2b3c4d-dev; observed by its annotation
   │  └─ registry.example.com/shop2:1||2 h|||ok; observed by its annotation
   ├─ unsure|||||unknown: of 1 of 1 repository the base's release is not known; follows dev of debian-12, told by webhook
   │  └─ registry.example.com/unsure:1||2 h|||unknown: which release of debian-12 it is built on is not known; observed by its annotation
   ├─ registry.example.com/bare:1||2 h|||ok; observed by its layers
   ├─ registry.example.com/dated:1||2 h|||behind: built on ` + old.Tag.String() + ` of debian-12, which has 20261123-1a2b3c4d-dev; observed by its layers
   ├─ registry.example.com/free:1||2 h|||ok; observed by its annotation
   ├─ registry.example.com/lost:1||2 h|||unknown: which release of debian-12 it is built on is not known; observed by its annotation
   └─ registry.example.com/stranger:1||2 h|||behind: built on ` + released("debian-12", 30*day, nil).Digest.Short() + ` of debian-12, which has 20261123-1a2b3c4d-dev; observed by its annotation
distribution not known|||||1 image
└─ alpine|||||gone: nobody defines it, and somebody outside builds on it
   └─ registry.example.com/api:1||2 h|||unknown: alpine has no release; observed by its annotation
`
	g := graph.Make(in)
	if got := lines(g); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	base, _ := g.Node("debian-12")
	if base.Outside != 9 || base.Descendants != 1 || g.Images != 3 || len(g.LeftOut) != 0 {
		t.Errorf("%d outside, %d below, %d images, %q", base.Outside, base.Descendants, g.Images, g.LeftOut)
	}
	wellFormed(t, g.SVG())

	in.Outside = false
	g = graph.Make(in)
	base, _ = g.Node("debian-12")
	if base.Outside != 9 || len(g.Nodes) != 3 || !slices.Equal(g.LeftOut, []string{"4 dependents and 10 repositories with images that were found to build on these: --outside shows them"}) {
		t.Errorf("%d outside, %d nodes, %q", base.Outside, len(g.Nodes), g.LeftOut)
	}
}
