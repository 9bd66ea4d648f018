package upstream

import (
	"cmp"
	"context"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// nameCVEs adds to each upgraded package the CVE ids that its source's changelog names since the old version. It fetches
// the smallest package of each changed source. An error means that some ids may be missing.
func (s Solver) nameCVEs(ctx context.Context, req Request, srcs []source, now factory.Lock, change *factory.LockChange) error {
	if change.First {
		return nil
	}
	groups, old := upgraded(*req.Old, now)
	if len(groups) == 0 {
		return nil
	}
	texts, res, err := s.changelogs(ctx, req.Image.Name, groups, nil)
	if err != nil {
		return err
	}
	for i, g := range groups {
		ids := changelogCVEs(texts[i], old[g[0].Name])
		for j, c := range change.Packages {
			if slices.ContainsFunc(g, func(p factory.Package) bool { return p.Name == c.Name && p.Version == c.New }) {
				change.Packages[j].CVEs = ids
			}
		}
	}
	if res.Exit != 0 {
		return fault{img: req.Image, srcs: srcs, keyring: s.keyring(req.Image)}.explain(res)
	}
	return nil
}

// upgraded returns the packages that have another version than in old, grouped by source, the smallest first, and the old
// source version of each.
func upgraded(old, now factory.Lock) (groups [][]factory.Package, before map[string]string) {
	before = map[string]string{}
	bySource := map[string]int{}
	for _, lp := range now.Platforms {
		versions := map[string]factory.Package{}
		for _, p := range old.For(lp.Platform) {
			versions[p.Name] = p
		}
		for _, p := range lp.Packages {
			was, ok := versions[p.Name]
			if !ok || was.Version == p.Version || before[p.Name] != "" {
				continue
			}
			before[p.Name] = sourceVersionOf(was)
			key := sourceOf(p) + " " + sourceVersionOf(p)
			i, ok := bySource[key]
			if !ok {
				i = len(groups)
				bySource[key] = i
				groups = append(groups, nil)
			}
			groups[i] = append(groups[i], p)
		}
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b factory.Package) int { return cmp.Compare(a.Size, b.Size) })
	}
	return groups, before
}
