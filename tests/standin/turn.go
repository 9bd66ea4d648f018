package standin

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// SecurityUpdate publishes the fixed openssl and libxml2, with an advisory each. In Amazon Linux 2023, where a release never
// changes, they come with the next one: latest moves.
func (a *Archive) SecurityUpdate() error {
	fixed := func(s spec) string { return s.Fixed[a.Release] }
	return a.grow("security update", func(s spec) bool { return fixed(s) != "" }, fixed)
}

// AddModule publishes a further stream of the module nodejs, 22. Only RHEL9 has modules: ErrInvalid elsewhere.
func (a *Archive) AddModule() error { return a.later("module") }

// Obsolete publishes procps-ng and procps-ng-libs, into which procps was split: both obsolete it, and the first provides it.
func (a *Archive) Obsolete() error { return a.later("obsolete") }

// MoveRelease publishes the next release of Amazon Linux 2023, which must be newer than Version: latest leads to a new repository
// with a new system-release, and the list of the old release to the old one. Other families have no such thing: ErrInvalid.
func (a *Archive) MoveRelease(version string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Release != AmazonLinux2023 || !releaseForm.MatchString(version) || version <= a.version {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the stand-in of %s cannot move to release %.60q", a.Release, version)}
	}
	return a.turn(version, nil, nil)
}

var releaseForm = regexp.MustCompile(`^2023\.[0-9]+\.[0-9]{8}$`)

// later publishes what the catalogue keeps for a change.
func (a *Archive) later(change string) error {
	return a.grow(change, func(s spec) bool { return s.Change == change }, func(s spec) string { return s.EVR[a.Release] })
}

// grow publishes packages of the catalogue.
func (a *Archive) grow(what string, want func(spec) bool, evr func(spec) string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	specs, err := pick(a.Release, nil, func(s spec) bool { return want(s) && !a.has(s.Name, evr(s)) })
	if err != nil {
		return err
	}
	if len(specs) == 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the stand-in of %s has no %s, or no further one", a.Release, what)}
	}
	version := a.version
	if a.Release == AmazonLinux2023 {
		version = follower(version)
	}
	return a.turn(version, specs, evr)
}

// has reports whether a package was published.
func (a *Archive) has(name, evr string) bool {
	return slices.ContainsFunc(a.repos, func(r *repository) bool {
		return slices.ContainsFunc(r.packages, func(p *published) bool { return p.Name == name && p.evr() == evr })
	})
}

// turn publishes packages on the next day. In Amazon Linux 2023 they come with a new release, as in reality: the old one's
// repositories and lists stay as they are.
func (a *Archive) turn(version string, specs []spec, evr func(spec) string) error {
	a.now = a.now.Add(24 * time.Hour)
	a.changes++
	if a.Release == AmazonLinux2023 {
		a.version = version
		moving, err := pick(a.Release, nil, spec.moves)
		if err != nil {
			return err
		}
		specs = append(moving, specs...)
	}
	for i, repo := range a.repos {
		fresh := *repo
		fresh.packages = slices.Clone(repo.packages)
		a.repos[i] = &fresh
	}
	return a.publish(specs, func(s spec) string {
		if s.moves() {
			return s.EVR[a.Release]
		}
		return evr(s)
	}, false)
}

// moves: the packages that carry the release's version.
func (s spec) moves() bool {
	return slices.Contains([]string{"system-release", "amazon-linux-repo-cdn", "amazon-linux-repo-s3"}, s.Name)
}

// follower is the release of a week later.
func follower(version string) string {
	head, day := version[:len(version)-8], version[len(version)-8:]
	at, err := time.Parse("20060102", day)
	if err != nil {
		return version + "0" // no day of any calendar, and later all the same
	}
	return head + at.AddDate(0, 0, 7).Format("20060102")
}
