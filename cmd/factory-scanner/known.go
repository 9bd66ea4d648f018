package main

import (
	"encoding/json"
	"slices"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/types"
)

// known are the packages that a database made from the archives' own advisories knows, by part. Of any other, no advisory means nothing.
// Nil is a database that knows all there is: where Trivy's own has no advisory, there is none.
type known map[string]map[string]bool

// readKnown reads what Build wrote. A database that was built without it knows nothing.
func readKnown(text []byte) (known, error) {
	k := known{}
	if text == nil {
		return k, nil
	}
	var lists map[string][]string
	if err := json.Unmarshal(text, &lists); err != nil {
		return nil, err
	}
	for part, names := range lists {
		k[part] = make(map[string]bool, len(names))
		for _, n := range names {
			k[part][n] = true
		}
	}
	return k, nil
}

// anyStream is the name under which known has what it knows of a package, and not of which of its streams.
func anyStream(name string) string { return "::" + name }

// knows reports whether an advisory of a distribution's package would be there, if there were one.
func (k known) knows(os ftypes.OS, p ftypes.Package) bool {
	f := familyOf(os.Family)
	if p.Repository.Class == ftypes.RepositoryClassThirdParty || f == nil && k != nil {
		return false // advisories are the distribution's own
	}
	if k == nil {
		return true
	}
	names := k[f.titleOf(f.release(os.Name))]
	return names[f.key(p)] && !(p.Modularitylabel != "" && names[anyStream(f.key(p))])
}

// divide counts the packages that were looked at, and names the others, sorted, once each. Of packages of languages, the archives of
// a distribution know nothing.
func (k known) divide(os ftypes.OS, results types.Results) (looked int, others []string) {
	for _, part := range results {
		for _, p := range part.Packages {
			if part.Class == types.ClassOSPkg && k.knows(os, p) || part.Class != types.ClassOSPkg && k == nil {
				looked++
			} else {
				others = append(others, p.Name)
			}
		}
	}
	slices.Sort(others)
	return looked, slices.Compact(others)
}
