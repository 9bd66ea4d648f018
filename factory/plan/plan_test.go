package plan_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/plan"
)

var (
	now   = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	week  = 7 * 24 * time.Hour
	amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}
)

func makeJobs(now time.Time, maxAge time.Duration, env factory.Env, force []string, in []plan.Input) []factory.Job {
	return plan.Rules{Now: now, MaxAge: maxAge, Env: env, Force: force}.Make(in)
}

func image(name string) factory.Image {
	eol, _ := factory.ParseDate("2028-06-30")
	return factory.Image{Name: name, Kind: factory.KindBase, EndOfLife: eol}
}

func lock(packages ...string) factory.Lock {
	l := factory.Lock{Definition: "sha256:d", Tools: map[string]factory.Digest{"toolbox": "sha256:t"}, Roles: map[string]factory.Digest{"cis_debian": "sha256:r"}}
	var all []factory.Package
	for _, p := range packages {
		name, version, _ := strings.Cut(p, " ")
		all = append(all, factory.Package{Name: name, Version: version, Arch: "amd64", SHA256: factory.DigestOf([]byte(p))})
	}
	l.Platforms = []factory.LockedPlatform{{Platform: amd64, Packages: all}}
	return l
}

func release(age time.Duration, l factory.Lock) *factory.Release {
	made := now.Add(-age)
	return &factory.Release{ID: "r1", Repository: "registry.invalid/debian-12", Digest: "sha256:abc", Created: made, Lock: l,
		Source: factory.Source{Inputs: "sha256:old"},
		Tag:    factory.Tag{Date: factory.DateOf(made), Hash: "1a2b3c4d", Env: factory.Dev}}
}

func TestMake(t *testing.T) {
	t.Parallel()
	old := lock("bash 5.2", "libssl3 3.0.15", "openssl 3.0.15", "tzdata 2026a", "zlib1g 1")
	edit := func(f func(*factory.Lock)) factory.Lock { l := lock("bash 5.2"); f(&l); return l }
	same, moved := factory.Source{Inputs: "sha256:old", Commit: "c"}, factory.Source{Inputs: "sha256:new", Commit: "c"}
	day := 24 * time.Hour
	for _, c := range []struct {
		name    string
		in      plan.Input
		force   bool
		maxAge  time.Duration
		action  factory.Action
		reason  string
		refresh factory.Digest
	}{
		{name: "unreadable", in: plan.Input{Err: errors.New("archive debian: down"), Last: release(day, old)}, force: true, action: factory.Fail, reason: "archive debian: down"},
		{name: "not set up", in: plan.Input{Unset: "nothing says where archive x is", Err: errors.New("x")}, action: factory.Skip, reason: "not set up here: nothing says where archive x is"},
		{name: "first", in: plan.Input{Source: moved}, action: factory.Rebuild, reason: "first release"},
		{name: "first after a failure", in: plan.Input{Source: moved, LastFailed: &factory.RunJob{Error: "test: sudo is installed\nmore"}}, action: factory.Rebuild, reason: "first release; the last try failed: test: sudo is installed"},
		{name: "keep", in: plan.Input{Source: same, Last: release(3*day+time.Hour, old)}, action: factory.Keep, reason: "nothing changed since 20261120-1a2b3c4d-dev, 3 days old; refresh due in 4 days"},
		{name: "keep after a failure", in: plan.Input{Source: same, Last: release(time.Hour, old), LastFailed: &factory.RunJob{Error: "x"}}, action: factory.Keep, reason: "nothing changed since 20261123-1a2b3c4d-dev, less than a day old; refresh due in 7 days"},
		{name: "keep for ever", in: plan.Input{Source: same, Last: release(300*day, old)}, maxAge: -1, action: factory.Keep, reason: "nothing changed since 20260127-1a2b3c4d-dev, 300 days old"},
		{name: "one second before it is due", in: plan.Input{Source: same, Last: release(week-time.Second, old)}, action: factory.Keep, reason: "nothing changed since 20261116-1a2b3c4d-dev, 6 days old; refresh due in 1 day"},
		{name: "due", in: plan.Input{Source: same, Last: release(week, old)}, action: factory.Rebuild, reason: "nothing changed, but 20261116-1a2b3c4d-dev is 7 days old and a refresh is due after 7 days", refresh: "sha256:abc"},
		{name: "from the future", in: plan.Input{Source: same, Last: release(-day, old)}, action: factory.Keep, reason: "nothing changed since 20261124-1a2b3c4d-dev, less than a day old (it was made in the future by this clock, so it counts as new); refresh due in 7 days"},
		{name: "committed since, same content", in: plan.Input{Source: same, Last: func() *factory.Release { r := release(day, old); r.Source.Dirty = true; return r }()}, action: factory.Rebuild, reason: "its inputs are committed now"},
		{name: "lost by the registry", in: plan.Input{Source: same, Gone: true, Last: release(day, old)}, action: factory.Rebuild, reason: "the registry has lost 20261122-1a2b3c4d-dev"},
		{name: "forced", in: plan.Input{Source: same, Last: release(week, old)}, force: true, action: factory.Rebuild, reason: "asked for"},
		{name: "one package", in: plan.Input{Source: moved, Lock: lock("bash 5.2", "libssl3 3.0.15", "openssl 3.0.16", "tzdata 2026a", "zlib1g 1"), Last: release(day, old)}, action: factory.Rebuild, reason: "openssl 3.0.15 -> 3.0.16"},
		{name: "several packages", in: plan.Input{Source: moved, Lock: lock("bash 5.2", "libssl3 3.0.16", "openssl 3.0.16", "tzdata 2026b", "zlib1g 2"), Last: release(day, old)}, action: factory.Rebuild, reason: "libssl3 3.0.15 -> 3.0.16 and 3 more"},
		{name: "added", in: plan.Input{Source: moved, Lock: lock("apt 2", "bash 5.2"), Last: release(day, lock("bash 5.2"))}, action: factory.Rebuild, reason: "apt 2 added"},
		{name: "removed", in: plan.Input{Source: moved, Lock: lock("bash 5.2"), Last: release(day, lock("apt 2", "bash 5.2"))}, action: factory.Rebuild, reason: "apt 2 removed"},
		{name: "same version, other bytes", in: plan.Input{Source: moved, Lock: edit(func(l *factory.Lock) { l.Platforms[0].Packages[0].SHA256 = "sha256:x" }), Last: release(day, lock("bash 5.2"))}, action: factory.Rebuild, reason: "bash 5.2 has other content"},
		{name: "toolbox and role", in: plan.Input{Source: moved, Lock: edit(func(l *factory.Lock) { l.Tools["toolbox"], l.Roles["cis_debian"] = "sha256:1", "sha256:2" }), Last: release(day, lock("bash 5.2"))}, action: factory.Rebuild, reason: "role cis_debian changed, toolbox moved"},
		{name: "definition the solver sees", in: plan.Input{Source: moved, Lock: edit(func(l *factory.Lock) { l.Definition = "sha256:e" }), Last: release(day, lock("bash 5.2"))}, action: factory.Rebuild, reason: "definition changed"},
		{name: "definition beyond the lock", in: plan.Input{Source: moved, Lock: lock("bash 5.2"), Last: release(30*day, lock("bash 5.2")), LastFailed: &factory.RunJob{Error: "harden: broke"}}, action: factory.Rebuild, reason: "definition changed; the last try failed: harden: broke"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.in.Image = image("debian-12")
			var force []string
			if c.force {
				force = []string{"debian-12"}
			}
			maxAge := max(c.maxAge, 0)
			if c.maxAge == 0 {
				maxAge = week
			}
			jobs := makeJobs(now, maxAge, factory.Dev, force, []plan.Input{c.in})
			if len(jobs) != 1 {
				t.Fatalf("%d jobs", len(jobs))
			}
			j := jobs[0]
			if j.Action != c.action || j.Reason != c.reason || j.Refresh != c.refresh {
				t.Errorf("got  %s, %q, refresh %q\nwant %s, %q, refresh %q", j.Action, j.Reason, j.Refresh, c.action, c.reason, c.refresh)
			}
			supersedes := ""
			if c.action == factory.Rebuild && c.in.Last != nil {
				supersedes = c.in.Last.ID
			}
			if j.Supersedes != supersedes || j.Env != factory.Dev || j.Source != c.in.Source || j.Wave != 0 {
				t.Errorf("job %+v, want it to supersede %q", j, supersedes)
			}
		})
	}
}

func TestMakeOrderAndKinds(t *testing.T) {
	t.Parallel()
	toolbox := image("toolbox")
	toolbox.Kind = factory.KindToolbox
	in := []plan.Input{{Image: image("zeta")}, {Image: toolbox}, {Image: image("alpha")}}
	jobs := makeJobs(now, week, factory.Prod, []string{"toolbox"}, in)
	if len(jobs) != 2 || jobs[0].Image.Name != "alpha" || jobs[1].Image.Name != "zeta" || jobs[0].Env != factory.Prod {
		t.Errorf("%+v", jobs)
	}
	if in[0].Image.Name != "zeta" {
		t.Error("the input was changed")
	}
	if got := makeJobs(now, week, factory.Dev, nil, nil); got == nil || len(got) != 0 {
		t.Errorf("no images: %#v, want an empty list", got)
	}
}

func TestMakeAfterEndOfLife(t *testing.T) {
	t.Parallel()
	img := image("debian-12")
	const note = "; support ended on 2028-06-30"
	for at, told := range map[time.Time]bool{
		time.Date(2028, 6, 30, 23, 59, 59, 0, time.UTC): false,
		time.Date(2028, 7, 1, 0, 0, 0, 0, time.UTC):     true,
	} {
		for _, in := range []plan.Input{{Image: img}, {Image: img, Err: errors.New("suite gone")}} {
			j := makeJobs(at, week, factory.Dev, nil, []plan.Input{in})[0]
			if strings.HasSuffix(j.Reason, note) != told {
				t.Errorf("at %s: %q", at, j.Reason)
			}
		}
	}
}

// Whatever the clock and the ages are: one job per image, a reason for each, and the rules hold.
func TestMakeProperties(t *testing.T) {
	t.Parallel()
	holds := func(nowSec, madeSec int64, maxAge time.Duration, same, failed, forced, has bool) bool {
		at := time.Unix(nowSec%(1<<36), 0)
		in := plan.Input{Image: image("a"), Source: factory.Source{Inputs: "sha256:new"}}
		if same {
			in.Source.Inputs = "sha256:old"
		}
		if failed {
			in.Err = errors.New("down")
		}
		if has {
			in.Last = release(0, lock())
			in.Last.Created = time.Unix(madeSec%(1<<36), 0)
		}
		var force []string
		if forced {
			force = []string{"a"}
		}
		jobs := makeJobs(at, maxAge, factory.Dev, force, []plan.Input{in})
		again := makeJobs(at, maxAge, factory.Dev, force, []plan.Input{in})
		if len(jobs) != 1 || jobs[0].Reason == "" || !reflect.DeepEqual(jobs, again) || strings.Contains(jobs[0].Reason, "-1 day") {
			return false
		}
		j := jobs[0]
		overdue := has && maxAge > 0 && at.Sub(in.Last.Created) >= maxAge
		switch {
		case failed:
			return j.Action == factory.Fail && j.Refresh == ""
		case !has || !same || forced:
			return j.Action == factory.Rebuild && j.Refresh == ""
		case overdue:
			return j.Action == factory.Rebuild && j.Refresh == in.Last.Digest
		default:
			return j.Action == factory.Keep && j.Refresh == "" && j.Supersedes == ""
		}
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 20000}); err != nil {
		t.Error(err)
	}
	for _, age := range []time.Duration{math.MinInt64, -1, 0, math.MaxInt64} {
		for _, maxAge := range []time.Duration{math.MinInt64, 0, 1, math.MaxInt64} {
			in := plan.Input{Image: image("a"), Source: factory.Source{Inputs: "sha256:old"}, Last: release(age, lock())}
			if j := makeJobs(now, maxAge, factory.Dev, nil, []plan.Input{in})[0]; strings.Contains(j.Reason, "--") || j.Reason == "" {
				t.Error(fmt.Sprint("age ", age, ", max ", maxAge, ": ", j.Reason))
			}
		}
	}
}

// A refreshed release is young again: the night after does not rebuild.
func TestMakeSettles(t *testing.T) {
	t.Parallel()
	last := release(8*24*time.Hour, lock())
	rebuilt := 0
	for night := range 14 {
		at := now.Add(time.Duration(night) * 24 * time.Hour)
		in := plan.Input{Image: image("a"), Source: factory.Source{Inputs: "sha256:old"}, Last: last}
		if makeJobs(at, week, factory.Dev, nil, []plan.Input{in})[0].Action == factory.Rebuild {
			rebuilt++
			next := *last
			next.Created = at
			last = &next
		}
	}
	if rebuilt != 2 {
		t.Errorf("%d rebuilds in 14 nights, want one a week", rebuilt)
	}
}

// The calendar alone can change what hardening does: an exemption that ends is a reason, and no refresh.
func TestEndedExemption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		until  string
		action factory.Action
	}{{"2026-11-19", factory.Keep}, {"2026-11-20", factory.Rebuild}, {"2026-11-22", factory.Rebuild}, {"2026-11-23", factory.Keep}, {"2027-01-01", factory.Keep}} {
		until, err := factory.ParseDate(c.until)
		if err != nil {
			t.Fatal(err)
		}
		img := factory.Image{Name: "debian-12"}
		img.Hardening.Exempt = []factory.Exemption{{Control: "5.3.3.1", Until: until}}
		last := release(3*24*time.Hour, lock("bash 5.2")) // of 2026-11-20
		job := makeJobs(now, week, factory.Dev, nil, []plan.Input{{Image: img, Source: last.Source, Lock: last.Lock, Last: last}})[0]
		if job.Action != c.action || job.Refresh != "" || c.action == factory.Rebuild && job.Reason != "the exemption of control 5.3.3.1 has ended" {
			t.Errorf("until %s: %s, %q", c.until, job.Action, job.Reason)
		}
	}
}
