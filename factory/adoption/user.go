package adoption

import (
	"cmp"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// State is how a repository stands to the release in force.
type State string

// The states, from the best to the worst.
const (
	Current State = "current"
	Ahead   State = "ahead" // on a release that is newer than what is in force, or where nothing is in force
	Behind  State = "behind"
	Unknown State = "unknown" // on a base of ours, and nobody knows which release
	Revoked State = "revoked"
)

// User is a repository whose newest image is built on one of ours.
type User struct {
	factory.Observed
	Owner    string       `json:"owner"` // team; empty = nobody's
	State    State        `json:"state"`
	Tagged   string       `json:"tagged,omitempty"`   // the tag of its base's release; empty = not known
	Released *time.Time   `json:"released,omitempty"` // when that release was made
	Releases int          `json:"releasesBehind"`
	Days     int          `json:"daysBehind"` // between the making of that release and of the one in force
	Older    int          `json:"older"`      // other images of the repository that are still there
	env      *factory.Env // that its dependent follows
}

// users returns one for each repository and base: its newest image stands for it.
func (in Input) users(k known) []User {
	newest := map[[2]string]User{}
	for _, o := range in.Observed {
		if o.Gone != nil || in.Image != "" && o.Image != in.Image {
			continue
		}
		key := [2]string{o.Repository, o.Image}
		u, there := newest[key]
		switch {
		case !there:
			u = k.user(o)
		case newer(o, u.Observed):
			older := u.Older + 1
			u = k.user(o)
			u.Older = older
		default:
			u.Older++
		}
		newest[key] = u
	}
	var all []User
	for _, u := range newest {
		if d := Owner(in.Dependents, u.Repository); d != nil {
			u.Owner, u.Dependent, u.env = d.Owner, d.Name, &d.Env
		} else {
			u.Dependent = ""
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b User) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(rank(b.State), rank(a.State)), cmp.Compare(b.Days, a.Days), cmp.Compare(a.Repository, b.Repository))
	})
	return all
}

// newer: made later; where neither says when, latest before others, and then by name.
func newer(a, b factory.Observed) bool {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c > 0
	}
	if (a.Tag == "latest") != (b.Tag == "latest") {
		return a.Tag == "latest"
	}
	return a.Tag > b.Tag
}

func rank(s State) int { return slices.Index([]State{Current, Ahead, Behind, Unknown, Revoked}, s) }

func (k known) user(o factory.Observed) User {
	u := User{Observed: o, State: Unknown}
	r, there := k.byID[o.Release]
	if !there {
		return u
	}
	u.Tagged, u.Released = r.Tag.String(), &r.Created
	force, forced := k.force[r.Image]
	switch {
	case k.revoked[r.Digest]:
		u.State = Revoked
	case !forced || r.Created.After(force.Created) && r.Digest != force.Digest:
		u.State = Ahead
	case r.Digest == force.Digest:
		u.State = Current
	default:
		u.State = Behind
	}
	if u.State == Behind || u.State == Revoked && forced {
		u.Releases, u.Days = k.behind(r), max(0, int(force.Created.Sub(r.Created).Hours()/24))
	}
	return u
}
