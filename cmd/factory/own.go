package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// own says of each release below a child which packages the child has beyond that one's, by name. For what no lock knows, like a
// Python wheel, the SBOMs are asked: what stands in the ancestor's, in the same version, is the ancestor's, as long as the child has
// no other version of it. A release that this database does not know is left out.
func (c *command) own(ctx context.Context, job factory.Job, lock factory.Lock, scan factory.Scan, sboms func() ([]factory.Document, error)) (map[string][]string, error) {
	if job.Parent == nil {
		return nil, nil
	}
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	var mine map[string][]string
	for base := job.Parent; base != nil && all[base.Image] == nil; {
		r, err := db.Release(ctx, base.Release)
		if errors.Is(err, factory.ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		names := append([]string{}, lock.Beyond(r.Lock)...)
		if loose := beyondLocks(job.Image, r.Image, lock, scan); len(loose) > 0 {
			if mine == nil {
				if mine, err = inSBOMs(sboms()); err != nil {
					return nil, err
				}
			}
			theirs, err := inSBOMs(c.documentsOf(ctx, r.ID, factory.CycloneDX))
			if err != nil {
				return nil, err
			}
			for _, f := range loose {
				if !within(f, mine, theirs) {
					names = append(names, f.Package)
				}
			}
		}
		slices.Sort(names)
		all[r.Image] = slices.Compact(names)
		base = r.Parent
	}
	return all, nil
}

// beyondLocks are the findings that a waiver of an ancestor would cover, in packages that no lock knows.
func beyondLocks(img factory.Image, ancestor string, lock factory.Lock, scan factory.Scan) []factory.Finding {
	return slices.DeleteFunc(slices.Clone(scan.Findings), func(f factory.Finding) bool {
		system := strings.HasPrefix(f.Purl, "pkg:deb/") || strings.HasPrefix(f.Purl, "pkg:rpm/")
		locked := slices.ContainsFunc(lock.Platforms, func(p factory.LockedPlatform) bool {
			return slices.ContainsFunc(p.Packages, func(p factory.Package) bool { return p.Name == f.Package })
		})
		return locked && (system || f.Purl == "") ||
			!slices.ContainsFunc(img.Waivers, func(w factory.Waiver) bool { return w.Inherited == ancestor && w.Covers(f) })
	})
}

// within reports whether all that an image has of a finding's package is an ancestor's too.
func within(f factory.Finding, mine, theirs map[string][]string) bool {
	pkg, version := splitPurl(f.Purl)
	if pkg == "" {
		return false
	}
	for _, v := range append(slices.Clone(mine[pkg]), version) {
		if !slices.Contains(theirs[pkg], v) {
			return false
		}
	}
	return true
}

// splitPurl parts a package URL into what it is about and the version, without what else it says.
func splitPurl(purl string) (pkg, version string) {
	purl, _, _ = strings.Cut(purl, "#")
	purl, _, _ = strings.Cut(purl, "?")
	if i := strings.LastIndex(purl, "@"); i > strings.LastIndex(purl, "/") {
		return purl[:i], purl[i+1:]
	}
	return purl, ""
}

// inSBOMs are the versions of each package that CycloneDX documents list.
func inSBOMs(documents []factory.Document, err error) (map[string][]string, error) {
	all := map[string][]string{}
	for _, d := range documents {
		var bom struct {
			Components []struct {
				Purl string `json:"purl"`
			} `json:"components"`
		}
		if err := json.Unmarshal(d.Data, &bom); err != nil {
			return nil, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("the SBOM of %s cannot be read", d.Name), Cause: err}
		}
		for _, c := range bom.Components {
			pkg, version := splitPurl(c.Purl)
			all[pkg] = append(all[pkg], version)
		}
	}
	return all, err
}
