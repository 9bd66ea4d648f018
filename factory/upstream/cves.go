package upstream

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

//go:embed changelogs.sh
var changelogsScript string

// candidates is how many packages of one source are looked into for its changelog. Several, because a package may only
// link to the documentation of another.
const candidates = 4

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
	var wanted strings.Builder
	for i, g := range groups {
		for _, p := range g[:min(candidates, len(g))] {
			j := slices.IndexFunc(srcs, func(src source) bool { return src.ID == p.Archive })
			fmt.Fprintf(&wanted, "%d %s %s/%s %s\n", i, p.Name, srcs[j].url, p.Path, p.SHA256.Hex())
		}
	}
	files := map[string]factory.File{
		path.Join(inDir, "changelogs.sh"): {Data: []byte(changelogsScript)},
		path.Join(inDir, "apt.conf"):      {Data: []byte(aptConf)},
		path.Join(inDir, "wanted"):        {Data: []byte(wanted.String())},
	}
	res, err := s.Runner.Run(ctx, s.step(req.Image.Name, "changelogs", "changelogs.sh", files))
	if err != nil {
		return err
	}
	for i, g := range groups {
		ids := changelogCVEs(res.Output[strconv.Itoa(i)+".gz"], old[g[0].Name])
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
			before[p.Name] = cmp.Or(was.SourceVersion, was.Version)
			key := cmp.Or(p.Source, p.Name) + " " + cmp.Or(p.SourceVersion, p.Version)
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
