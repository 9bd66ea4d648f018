package upstream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// solved is what dnf would install on one platform.
type solved struct {
	platform factory.Platform
	release  string // version of the package that stands for the distribution itself; empty = none
	replaced map[string]string
	offers   []offer // source is an index of the repositories
}

// dnfAnswer is what solve_dnf.py writes.
type dnfAnswer struct {
	Platforms []struct {
		Name     string            `json:"name"`
		Release  string            `json:"release"`
		Replaced map[string]string `json:"replaced"` // asked for → obsoleted by
		Packages []dnfPackage      `json:"packages"`
	} `json:"platforms"`
}

type dnfPackage struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Arch          string `json:"arch"`
	Source        string `json:"source"`
	SourceVersion string `json:"sourceVersion"`
	Repository    int    `json:"repository"` // of the platform's
	Path          string `json:"path"`
	Size          int64  `json:"size"`
	SHA256        string `json:"sha256"`
}

// parseAnswer reads dnf's answer, strictly. Every platform must be there.
func parseAnswer(b []byte, platforms []factory.Platform, repos []yum) ([]solved, error) {
	var answer dnfAnswer
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&answer); err != nil {
		return nil, fmt.Errorf("dnf's answer: %w", err)
	}
	if len(answer.Platforms) != len(platforms) {
		return nil, fmt.Errorf("dnf's answer: %d platforms, not %d", len(answer.Platforms), len(platforms))
	}
	var all []solved
	for i, p := range platforms {
		a := answer.Platforms[i]
		if a.Name != p.Architecture || a.Release != "" && !fileName.MatchString(a.Release) {
			return nil, fmt.Errorf("dnf's answer: platform %.40q, release %.60q", a.Name, a.Release)
		}
		first := slices.IndexFunc(repos, func(y yum) bool { return y.platform == p })
		s := solved{platform: p, release: a.Release, replaced: a.Replaced}
		for _, d := range a.Packages {
			o, err := d.offer(first, repos)
			if err != nil {
				return nil, err
			}
			s.offers = append(s.offers, o)
		}
		slices.SortFunc(s.offers, func(a, b offer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch)) })
		for i := 1; i < len(s.offers); i++ {
			if s.offers[i].Name == s.offers[i-1].Name {
				return nil, fmt.Errorf("dnf's answer: %s is there twice", s.offers[i].Name)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// offer checks a package that dnf describes. first is the index of its platform's first repository.
func (d dnfPackage) offer(first int, repos []yum) (o offer, err error) {
	o.source = first + d.Repository
	if d.Repository < 0 || o.source >= len(repos) || repos[o.source].platform != repos[first].platform {
		return offer{}, fmt.Errorf("dnf's answer: %.60q is of repository %d", d.Name, d.Repository)
	}
	y := repos[o.source]
	if !rpmName.MatchString(d.Name) || !evrText.MatchString(d.Version) || d.Arch != "noarch" && d.Arch != y.platform.Machine() || !below(d.Path) || d.Size <= 0 {
		return offer{}, fmt.Errorf("dnf's answer: %.60q, version %.60q, architecture %.40q, file %.120q, size %d", d.Name, d.Version, d.Arch, d.Path, d.Size)
	}
	if d.Source != "" && !rpmName.MatchString(d.Source) || d.SourceVersion != "" && !evrText.MatchString(d.SourceVersion) {
		return offer{}, fmt.Errorf("dnf's answer: %.60q has the source %.60q %.60q", d.Name, d.Source, d.SourceVersion)
	}
	o.Package = factory.Package{Name: d.Name, Version: d.Version, Arch: d.Arch, Archive: y.ID, Repository: y.Suite, Path: d.Path, Size: d.Size}
	if o.SHA256, err = factory.ParseDigest("sha256:" + d.SHA256); err != nil {
		return offer{}, fmt.Errorf("dnf's answer: %.60q: %w", d.Name, err)
	}
	if d.Source != d.Name {
		o.Source = d.Source
	}
	// A source has no epoch that its file's name would tell.
	if compareEVR(withoutEpoch(d.Version), d.SourceVersion) != 0 {
		o.SourceVersion = d.SourceVersion
	}
	return o, nil
}

// hold checks dnf's answer against the definition: everything asked for is in it, and nothing that is ruled out.
func (p solved) hold(img factory.Image, repos []yum) error {
	bad := func(format string, args ...any) error {
		return &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where, What: img.Name + " " + fmt.Sprintf(format, args...)}
	}
	have := map[string]bool{}
	for _, o := range p.offers {
		have[o.Name] = true
		if y := repos[o.source]; len(y.Only) > 0 && !slices.Contains(y.Only, o.Name) {
			return bad("needs %s from %s, which may offer %s only", o.Name, y, strings.Join(y.Only, ", "))
		}
		if slices.Contains(img.Packages.Exclude, o.Name) {
			return bad("excludes %s, and dnf would install it", o.Name)
		}
	}
	if len(p.offers) == 0 {
		return bad("asks for no packages")
	}
	for _, name := range img.Packages.Include {
		if !have[name] && !have[p.replaced[name]] {
			return unknownPackage(img, repos, name)
		}
	}
	return nil
}
