package adoption

import (
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Input is everything that a report rests on.
type Input struct {
	At         time.Time
	Env        factory.Env
	Releases   []factory.Release   // every one, of every image; their Artifacts are not needed
	Ledger     []factory.Entry     // all of it, in any order
	Standing   []factory.Entry     // what is in force where
	Observed   []factory.Observed  // also what is gone
	Looks      []factory.Look      // the last at each repository
	Dependents []factory.Dependent // declared
	Image      string              // only this base; empty = all
	Owner      string              // only this team's; empty = all
}

// Owner returns whose repository it is, by what the dependents say that they publish; nil = nobody's.
func Owner(dependents []factory.Dependent, repository string) *factory.Dependent {
	for i, d := range dependents {
		if slices.Contains(d.Publishes, repository) {
			return &dependents[i]
		}
	}
	return nil
}

// known is what the input says of releases.
type known struct {
	byID    map[string]factory.Release
	came    map[factory.Digest]time.Time // when a digest came into the environment first
	revoked map[factory.Digest]bool
	force   map[string]factory.Release // by image
	order   map[string][]factory.Release
}

func (in Input) know() known {
	k := known{byID: map[string]factory.Release{}, came: map[factory.Digest]time.Time{}, revoked: map[factory.Digest]bool{}, force: map[string]factory.Release{}, order: map[string][]factory.Release{}}
	for _, r := range in.Releases {
		k.byID[r.ID] = r
	}
	for _, e := range in.Ledger {
		switch at, there := k.came[e.Digest]; {
		case e.Revoked:
			k.revoked[e.Digest] = true
		case e.Env == in.Env && (!there || e.At.Before(at)):
			k.came[e.Digest] = e.At
		}
	}
	for _, e := range in.Standing {
		if r, there := k.byID[e.Release]; there && e.Env == in.Env {
			k.force[e.Image] = r
		}
	}
	counted := map[factory.Digest]bool{}
	for _, r := range in.Releases {
		if _, came := k.came[r.Digest]; came && !counted[r.Digest] && !k.revoked[r.Digest] {
			counted[r.Digest] = true
			k.order[r.Image] = append(k.order[r.Image], r)
		}
	}
	for _, all := range k.order {
		slices.SortFunc(all, func(a, b factory.Release) int { return a.Created.Compare(b.Created) })
	}
	return k
}

// behind is how many releases came into the environment after r, up to the one in force.
func (k known) behind(r factory.Release) (n int) {
	force := k.force[r.Image]
	for _, later := range k.order[r.Image] {
		if later.Created.After(r.Created) && !later.Created.After(force.Created) && later.Digest != r.Digest {
			n++
		}
	}
	return n
}
