package graph

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// repository is where images were observed that are built on one of ours.
type repository struct {
	factory.Observed     // the newest image
	older            int // images
}

func (r repository) id() string { return "observed:" + r.Repository + " on " + r.Image }

func dependentID(name string) string { return "dependent:" + name }

// outside adds who builds on our images elsewhere, or counts them.
func (b *builder) outside() {
	owners := map[string]factory.Dependent{}
	for _, d := range b.in.Dependents {
		owners[d.Name] = d
		b.base(d.Image).Outside++
		if b.in.Outside {
			b.dependent(d)
		}
	}
	seen := b.repositories()
	for _, r := range seen {
		owner, owned := owners[r.Dependent]
		if owned = owned && owner.Image == r.Image; !owned {
			b.base(r.Image).Outside++
		}
		if b.in.Outside {
			b.observed(r, owner, owned)
		}
	}
	switch total := len(b.in.Dependents) + len(seen); {
	case b.in.Outside:
		b.judgeDependents()
	case total > 0:
		b.leftOut = append(b.leftOut, fmt.Sprintf("%s and %s with images that were found to build on these: --outside shows them",
			plural(len(b.in.Dependents), "dependent"), counted(len(seen), "repository", "repositories")))
	}
}

// base is the node of an image that somebody outside builds on.
func (b *builder) base(image string) *Node {
	if b.nodes[image] == nil {
		b.add(image, Image, image).mark(Gone, "nobody defines it, and somebody outside builds on it")
	}
	return b.nodes[image]
}

// repositories are what was observed, the newest image of each repository and base alone.
func (b *builder) repositories() []repository {
	all := slices.SortedFunc(slices.Values(b.in.Observed), func(a, c factory.Observed) int {
		return cmp.Or(cmp.Compare(a.Repository, c.Repository), cmp.Compare(a.Image, c.Image), c.Created.Compare(a.Created), cmp.Compare(c.Tag, a.Tag))
	})
	var found []repository
	for _, o := range all {
		if n := len(found); n > 0 && found[n-1].Repository == o.Repository && found[n-1].Image == o.Image {
			found[n-1].older++
			continue
		}
		found = append(found, repository{Observed: o})
	}
	return found
}

func (b *builder) dependent(d factory.Dependent) {
	n := b.add(dependentID(d.Name), Dependent, d.Name)
	n.Owner, n.Parent, n.Note = d.Owner, d.Image, fmt.Sprintf("follows %s of %s, told by %s", d.Env, d.Image, d.Tell.How)
	if d.Canary {
		n.Note += ", a canary"
	}
	b.children[n.Parent] = append(b.children[n.Parent], n.ID)
}

func (b *builder) observed(r repository, owner factory.Dependent, owned bool) {
	n := b.add(r.id(), Observed, r.Repository+":"+r.Tag)
	n.Parent, n.created, n.AgeHours = r.Image, r.Created, b.in.At.Sub(r.Created).Hours()
	n.Note = "observed by its " + r.By
	if r.older > 0 {
		n.Note += fmt.Sprintf(", with %s", counted(r.older, "older image", "older images"))
	}
	env := factory.Env("")
	if owned {
		n.Parent, n.Owner, env = dependentID(owner.Name), owner.Owner, owner.Env
	}
	b.children[n.Parent] = append(b.children[n.Parent], n.ID)
	base := b.nodes[r.Image]
	switch {
	case r.Base == "" && r.Release == "":
		n.mark(Unknown, "which release of %s it is built on is not known", r.Image)
	case base.Release == nil:
		n.mark(Unknown, "%s has no release", r.Image)
	case !base.current(r.Base, r.Release, env):
		n.mark(Behind, "built on %s of %s, which has %s", b.standsOn(r), r.Image, base.Release.Tag)
	}
}

// standsOn is what a repository's base is called: the tag where that is known.
func (b *builder) standsOn(r repository) string {
	if t, ok := b.in.Tags[r.Release]; ok {
		return t.String()
	}
	return cmp.Or(r.Release, r.Base.Short())
}

// current reports whether a release of n is its newest one, or in force. With an environment only what is in force there counts, if
// anything is.
func (n *Node) current(digest factory.Digest, release string, env factory.Env) bool {
	is := func(d factory.Digest, id string) bool {
		return digest != "" && digest == d || digest == "" && release == id
	}
	i := slices.IndexFunc(n.InForce, func(s Standing) bool { return s.Env == env })
	if i >= 0 {
		return is(n.InForce[i].Digest, n.InForce[i].Release)
	}
	return is(n.Release.Digest, n.Release.ID) || slices.ContainsFunc(n.InForce, func(s Standing) bool { return is(s.Digest, s.Release) })
}

// judgeDependents marks each dependent by what was observed of it.
func (b *builder) judgeDependents() {
	for _, id := range b.ids() {
		n := b.nodes[id]
		if n.Kind != Dependent {
			continue
		}
		behind, unknown := 0, 0
		for _, child := range b.children[id] {
			b.nodes[child].settle()
			switch b.nodes[child].State {
			case Behind:
				behind++
			case Unknown:
				unknown++
			}
		}
		switch total := len(b.children[id]); {
		case total == 0:
			n.mark(Unknown, "nothing that it publishes was observed")
		case behind > 0:
			n.mark(Behind, "%d of %s behind", behind, counted(total, "repository", "repositories"))
		case unknown > 0:
			n.mark(Unknown, "of %d of %s the base's release is not known", unknown, counted(total, "repository", "repositories"))
		}
	}
}
