package adoption_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/adoption"
)

const team = "registry.example.com/team/"

// entry is how a release came into an environment, a day after it was made.
func entry(r factory.Release, env factory.Env) factory.Entry {
	return factory.Entry{ID: r.ID + string(env), Release: r.ID, Image: r.Image, Repository: r.Repository, Digest: r.Digest, Env: env, At: r.Created.AddDate(0, 0, 1)}
}

// seen is an image of team, made on the nth day, on a release; nil = on one that nobody knows.
func seen(name, tag string, n int, on *factory.Release) factory.Observed {
	o := factory.Observed{Repository: team + name, Tag: tag, Digest: digest(name + tag), Created: day.AddDate(0, 0, n), Image: "debian-12", By: factory.ByLayers, Layers: 2, Of: 3, At: day.AddDate(0, 0, 9)}
	if on != nil {
		o.Image, o.Release, o.Layers = on.Image, on.ID, 3
	}
	return o
}

// world is five releases of debian-12, of which the one of day 2 was revoked and the one of day 4 is not in prod yet; and one of debian-13.
func world() (in adoption.Input, r []factory.Release) {
	for n := range 5 {
		r = append(r, release("debian-12", n))
	}
	r = append(r, release("debian-13", 0))
	in = adoption.Input{At: day.AddDate(0, 0, 10), Env: factory.Prod, Releases: r}
	for n, rel := range r {
		in.Ledger = append(in.Ledger, entry(rel, factory.Dev))
		if n != 4 && n != 5 {
			in.Ledger = append(in.Ledger, entry(rel, factory.Prod))
		}
	}
	revoked := entry(r[2], factory.Dev)
	revoked.Revoked = true
	in.Ledger = append(in.Ledger, revoked)
	in.Standing = []factory.Entry{entry(r[4], factory.Dev), entry(r[3], factory.Prod), entry(r[5], factory.Dev)}
	return in, r
}

func states(users []adoption.User) (all []string) {
	for _, u := range users {
		all = append(all, fmt.Sprintf("%s:%s %s %s %d/%d +%d", strings.TrimPrefix(u.Repository, team), u.Tag, u.Owner, u.State, u.Releases, u.Days, u.Older))
	}
	return all
}

func TestReport(t *testing.T) {
	t.Parallel()
	in, r := world()
	gone := day.AddDate(0, 0, 8)
	first := seen("quick", "0", 3, &r[3])
	first.Created, first.Gone = first.Created.Add(6*time.Hour), &gone // replaced since, and still the first
	undated := seen("quick", "2", 5, &r[3])
	undated.Created = time.Time{}
	in.Observed = []factory.Observed{
		first, seen("quick", "1", 4, &r[3]), undated,
		seen("slow", "1", 5, &r[0]), seen("slow", "2", 6, &r[1]), seen("slow", "latest", 6, &r[1]),
		seen("bad", "1", 5, &r[2]), seen("eager", "1", 6, &r[4]), seen("odd", "1", 6, nil), seen("thirteen", "1", 6, &r[5]),
		seen("staged", "1", 6, &r[4]),
	}
	in.Looks = []factory.Look{{Repository: team + "quick", At: day.AddDate(0, 0, 9)}, {Repository: team + "slow", At: day.AddDate(0, 0, 7)}, {Repository: team + "locked", At: day, Problem: "403"}}
	dependent := func(name, owner string, env factory.Env) factory.Dependent {
		return factory.Dependent{Name: name, Owner: owner, Image: "debian-12", Env: env, Publishes: []string{team + name}}
	}
	in.Dependents = []factory.Dependent{dependent("quick", "payments", factory.Prod), dependent("slow", "payments", factory.Prod), dependent("staged", "web", factory.Staging), dependent("locked", "web", factory.Prod)}
	rep := adoption.New(in)
	want := []string{"bad:1  revoked 1/1 +0", "odd:1  unknown 0/0 +0", "slow:latest payments behind 1/2 +2", "eager:1  ahead 0/0 +0", "quick:1 payments current 0/0 +1", "thirteen:1  ahead 0/0 +0"}
	if got := states(rep.Users); !slices.Equal(got, want) {
		t.Errorf("users\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b := rep.Bases[0]
	if len(rep.Bases) != 2 || b.Sum != (adoption.Sum{All: 5, Current: 1, Ahead: 1, Behind: 1, Unknown: 1, Revoked: 1}) || b.Percent != 20 || b.Tag != r[3].Tag.String() || b.Slowest.Repository != team+"slow" ||
		!reflect.DeepEqual(b.First, &adoption.Fanout{Repository: team + "quick", Hours: 6}) || b.Undated != 1 {
		t.Errorf("%+v, first %+v", b, b.First)
	}
	if other := rep.Bases[1]; other.Image != "debian-13" || other.Release != "" || other.First != nil || other.All != 1 || other.Percent != 0 {
		t.Errorf("%+v", other)
	}
	teams := []adoption.Team{
		{Owner: "", Sum: adoption.Sum{All: 4, Ahead: 2, Unknown: 1, Revoked: 1}}, {Owner: "web", Unseen: 1},
		{Owner: "payments", Sum: adoption.Sum{All: 2, Current: 1, Behind: 1}, Percent: 50},
	}
	if !reflect.DeepEqual(rep.Owners, teams) {
		t.Errorf("%+v", rep.Owners)
	}
	if rep.Looked != 3 || !rep.Oldest.Equal(day) || !rep.Newest.Equal(day.AddDate(0, 0, 9)) || len(rep.Unread) != 1 || rep.Gone != 1 || rep.Elsewhere[factory.Staging] != 1 {
		t.Errorf("%+v", rep)
	}
	if len(rep.Unseen) != 1 || rep.Unseen[0] != (adoption.Unseen{Dependent: "locked", Owner: "web", Image: "debian-12", Why: "not readable: 403"}) {
		t.Errorf("%+v", rep.Unseen)
	}

	in.Owner = "payments"
	if got := adoption.New(in); len(got.Users) != 2 || len(got.Owners) != 1 || len(got.Unseen) != 0 || got.Bases[0].First == nil {
		t.Errorf("of payments: %+v", got)
	}
	in.Owner = "web"
	if got := adoption.New(in); len(got.Users) != 0 || got.Bases[0].First != nil {
		t.Errorf("of web: %+v", got)
	}
	in.Owner, in.Image = "", "debian-13"
	if got := adoption.New(in); len(got.Users) != 1 || len(got.Bases) != 1 || len(got.Unseen) != 0 || got.Gone != 0 {
		t.Errorf("of debian-13: %+v", got)
	}
	if empty := adoption.New(adoption.Input{At: day, Env: factory.Prod}); empty.Bases == nil || empty.Users == nil || empty.Looked != 0 || empty.Oldest != nil {
		t.Errorf("of nothing: %+v", empty)
	}
}

// Every sum adds up, and nobody is left out of it.
func TestSumsAddUp(t *testing.T) {
	t.Parallel()
	in, r := world()
	for i := range 40 {
		on := &r[i%len(r)]
		if i%7 == 0 {
			on = nil
		}
		in.Observed = append(in.Observed, seen(fmt.Sprint("app", i%25), fmt.Sprint(i), i%9, on))
	}
	rep := adoption.New(in)
	add := func(s adoption.Sum) int { return s.Current + s.Ahead + s.Behind + s.Unknown + s.Revoked }
	bases, owners := 0, 0
	for _, b := range rep.Bases {
		bases += b.All
		if add(b.Sum) != b.All {
			t.Errorf("%+v", b)
		}
	}
	for _, o := range rep.Owners {
		owners += o.All
	}
	older := 0
	for _, u := range rep.Users {
		older += u.Older
	}
	if bases != len(rep.Users) || owners != len(rep.Users) || older+len(rep.Users) != 40 {
		t.Errorf("%d users, %d by base, %d by owner, %d older", len(rep.Users), bases, owners, older)
	}
}

// The same digest may have been released twice: whoever is on the first is current.
func TestCurrentIsByDigest(t *testing.T) {
	t.Parallel()
	a, b := release("debian-12", 0), release("debian-12", 3)
	b.Digest = a.Digest
	rep := adoption.New(adoption.Input{At: day.AddDate(0, 0, 4), Env: factory.Dev, Releases: []factory.Release{a, b}, Ledger: []factory.Entry{entry(a, factory.Dev), entry(b, factory.Dev)},
		Standing: []factory.Entry{entry(b, factory.Dev)}, Observed: []factory.Observed{seen("app", "1", 1, &a)}})
	if rep.Users[0].State != adoption.Current || rep.Bases[0].Adopted() != 100 || rep.Bases[0].Undated != 1 {
		t.Errorf("%+v, %+v", rep.Users[0], rep.Bases[0])
	}
}

func TestWhyNotSeen(t *testing.T) {
	t.Parallel()
	gone := day
	with := func(o factory.Observed) factory.Observed { o.Gone = &gone; return o }
	d := factory.Dependent{Name: "app", Image: "debian-12", Env: factory.Prod, Publishes: []string{team + "app", team + "web"}}
	thirteen := release("debian-13", 0)
	look := func(name, problem string) factory.Look {
		return factory.Look{Repository: team + name, At: day, Problem: problem}
	}
	for want, tc := range map[string]struct {
		d        factory.Dependent
		looks    []factory.Look
		observed []factory.Observed
	}{
		"dependents.yaml does not say what it publishes":                                   {d: factory.Dependent{Name: "app", Image: "debian-12", Env: factory.Prod}},
		"never looked at what it publishes":                                                {d: d, looks: []factory.Look{look("other", "")}},
		"looked at 1 of 2 repositories that it publishes, and found nothing of ours below": {d: d, looks: []factory.Look{look("app", "")}},
		"nothing that it publishes is built on ours, on 2026-11-23":                        {d: d, looks: []factory.Look{look("app", ""), look("web", "")}},
		"not readable: 503": {d: d, looks: []factory.Look{look("app", ""), look("web", "503")}},
		"its last image on debian-12 was gone on 2026-11-23": {d: d, looks: []factory.Look{look("app", "")}, observed: []factory.Observed{with(seen("app", "1", 0, nil))}},
		"what it publishes is built on debian-13":            {d: d, looks: []factory.Look{look("app", "")}, observed: []factory.Observed{seen("web", "1", 0, &thirteen)}},
	} {
		rep := adoption.New(adoption.Input{At: day, Env: factory.Prod, Looks: tc.looks, Observed: tc.observed, Dependents: []factory.Dependent{tc.d}})
		if len(rep.Unseen) != 1 || rep.Unseen[0].Why != want {
			t.Errorf("%+v, want %q", rep.Unseen, want)
		}
	}
}
