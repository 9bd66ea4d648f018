package adoption

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Report says who runs on which release, as far as anybody looked.
type Report struct {
	At     time.Time   `json:"at"`
	Env    factory.Env `json:"env"`
	Bases  []Base      `json:"bases"`
	Owners []Team      `json:"owners"`
	Users  []User      `json:"users"`
	// Unseen are declared dependents of which nothing counts here, with why.
	Unseen []Unseen `json:"unseen"`
	// Unread are repositories of which the last look could not read everything.
	Unread []factory.Look `json:"unread"`
	// Looked is how many repositories were ever looked at; Oldest and Newest are the oldest and the newest of the last looks.
	Looked int        `json:"looked"`
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
	// Elsewhere are repositories whose dependent follows another environment, by environment: they do not count here.
	Elsewhere map[factory.Env]int `json:"elsewhere,omitempty"`
	Gone      int                 `json:"gone"` // images that were seen once and are not there any more
}

// Sum counts repositories by how they stand.
type Sum struct {
	All     int `json:"all"`
	Current int `json:"current"`
	Ahead   int `json:"ahead"`
	Behind  int `json:"behind"`
	Unknown int `json:"unknown"`
	Revoked int `json:"revoked"`
}

// Adopted is how many of a hundred run on the release in force, rounded down. What is unknown counts as not.
func (s Sum) Adopted() int {
	if s.All == 0 {
		return 0
	}
	return 100 * s.Current / s.All
}

func (s *Sum) add(u User) {
	s.All++
	switch u.State {
	case Current:
		s.Current++
	case Ahead:
		s.Ahead++
	case Behind:
		s.Behind++
	case Revoked:
		s.Revoked++
	default:
		s.Unknown++
	}
}

// Base is one of our images, with those who build on it.
type Base struct {
	Image    string     `json:"image"`
	Release  string     `json:"release,omitempty"` // id of the one in force; empty = none is
	Tag      string     `json:"tag,omitempty"`
	Released *time.Time `json:"released,omitempty"`
	Sum
	Percent int   `json:"percent"` // Adopted
	Slowest *User `json:"slowest,omitempty"`
	// First is the repository with the first image on the release in force, and how long after the release that was made; nil =
	// nobody has one, or none says when it was made.
	First   *Fanout `json:"first,omitempty"`
	Undated int     `json:"undated"` // images on the release in force that do not say when they were made
}

// Fanout is how fast a release reached somebody.
type Fanout struct {
	Repository string  `json:"repository"`
	Hours      float64 `json:"hours"`
}

// Team is a subtotal.
type Team struct {
	Owner string `json:"owner"` // empty = nobody's
	Sum
	Percent int `json:"percent"`
	Unseen  int `json:"unseen"` // declared dependents of which nothing counts
}

// Unseen is a declared dependent of which nothing counts.
type Unseen struct {
	Dependent string `json:"dependent"`
	Owner     string `json:"owner"`
	Image     string `json:"image"`
	Why       string `json:"why"`
}

// New returns the report.
func New(in Input) Report {
	k := in.know()
	r := Report{At: in.At, Env: in.Env, Bases: []Base{}, Owners: []Team{}, Users: []User{}, Unseen: []Unseen{}, Unread: []factory.Look{}, Looked: len(in.Looks), Elsewhere: map[factory.Env]int{}}
	for _, u := range in.users(k) {
		switch {
		case in.Owner != "" && u.Owner != in.Owner:
		case u.env != nil && *u.env != in.Env:
			r.Elsewhere[*u.env]++
		default:
			r.Users = append(r.Users, u)
		}
	}
	r.looks(in)
	r.unseen(in)
	r.bases(in, k)
	r.owners()
	return r
}

func (r *Report) looks(in Input) {
	for _, l := range in.Looks {
		if r.Oldest == nil || l.At.Before(*r.Oldest) {
			r.Oldest = &l.At
		}
		if r.Newest == nil || l.At.After(*r.Newest) {
			r.Newest = &l.At
		}
		if l.Problem != "" {
			r.Unread = append(r.Unread, l)
		}
	}
	for _, o := range in.Observed {
		if o.Gone != nil && (in.Image == "" || o.Image == in.Image) {
			r.Gone++
		}
	}
}

// bases sums up each image that is in force in the environment or that somebody builds on.
func (r *Report) bases(in Input, k known) {
	names := []string{}
	for image := range k.force {
		if in.Image == "" || in.Image == image {
			names = append(names, image)
		}
	}
	for _, u := range r.Users {
		names = append(names, u.Image)
	}
	slices.Sort(names)
	for _, image := range slices.Compact(names) {
		b := Base{Image: image}
		force, forced := k.force[image]
		if forced {
			b.Release, b.Tag, b.Released = force.ID, force.Tag.String(), &force.Created
		}
		for _, u := range r.Users {
			if u.Image != image {
				continue
			}
			b.add(u)
			if u.Days > 0 && (b.Slowest == nil || u.Days > b.Slowest.Days) {
				b.Slowest = &u
			}
		}
		if forced {
			b.fanout(in, k, force)
		}
		b.Percent = b.Adopted()
		r.Bases = append(r.Bases, b)
	}
}

// fanout looks for the first image that was made on the release, also when it is gone by now.
func (b *Base) fanout(in Input, k known, force factory.Release) {
	for _, o := range in.Observed {
		switch on, there := k.byID[o.Release]; {
		case !there || on.Digest != force.Digest:
		case in.Owner != "" && !owned(in, o.Repository):
		case o.Created.IsZero() || o.Created.Before(force.Created) || o.Created.After(in.At):
			b.Undated++
		default:
			if hours := o.Created.Sub(force.Created).Hours(); b.First == nil || hours < b.First.Hours {
				b.First = &Fanout{o.Repository, hours}
			}
		}
	}
}

func owned(in Input, repository string) bool {
	d := Owner(in.Dependents, repository)
	return d != nil && d.Owner == in.Owner
}

func (r *Report) owners() {
	teams := map[string]*Team{}
	team := func(owner string) *Team {
		if teams[owner] == nil {
			teams[owner] = &Team{Owner: owner}
		}
		return teams[owner]
	}
	for _, u := range r.Users {
		team(u.Owner).add(u)
	}
	for _, d := range r.Unseen {
		team(d.Owner).Unseen++
	}
	for _, t := range teams {
		t.Percent = t.Adopted()
		r.Owners = append(r.Owners, *t)
	}
	slices.SortFunc(r.Owners, func(a, b Team) int {
		return cmp.Or(cmp.Compare(a.Percent, b.Percent), cmp.Compare(b.All, a.All), cmp.Compare(a.Owner, b.Owner))
	})
}

// unseen lists the dependents that are declared and of which nothing counts.
func (r *Report) unseen(in Input) {
	seen := map[string]bool{}
	for _, u := range r.Users {
		if u.Dependent != "" {
			seen[u.Dependent+" "+u.Image] = true
		}
	}
	for _, d := range in.Dependents {
		if seen[d.Name+" "+d.Image] || d.Env != in.Env || in.Image != "" && d.Image != in.Image || in.Owner != "" && d.Owner != in.Owner {
			continue
		}
		r.Unseen = append(r.Unseen, Unseen{d.Name, d.Owner, d.Image, in.why(d)})
	}
}

// why says why nothing of a dependent counts.
func (in Input) why(d factory.Dependent) string {
	if len(d.Publishes) == 0 {
		return "dependents.yaml does not say what it publishes"
	}
	var looks []factory.Look
	for _, l := range in.Looks {
		if slices.Contains(d.Publishes, l.Repository) {
			looks = append(looks, l)
		}
	}
	var gone, other string
	for _, o := range in.Observed {
		switch {
		case !slices.Contains(d.Publishes, o.Repository):
		case o.Gone == nil && o.Image != d.Image:
			other = o.Image
		case o.Gone != nil && o.Image == d.Image:
			gone = fmt.Sprintf("its last image on %s was gone on %s", d.Image, factory.DateOf(*o.Gone))
		}
	}
	switch broken := slices.IndexFunc(looks, func(l factory.Look) bool { return l.Problem != "" }); {
	case other != "":
		return "what it publishes is built on " + other
	case broken >= 0:
		return "not readable: " + looks[broken].Problem
	case gone != "":
		return gone
	case len(looks) == 0:
		return "never looked at what it publishes"
	case len(looks) < len(d.Publishes):
		return fmt.Sprintf("looked at %d of %d repositories that it publishes, and found nothing of ours below", len(looks), len(d.Publishes))
	}
	return fmt.Sprintf("nothing that it publishes is built on ours, on %s", factory.DateOf(looks[0].At))
}
