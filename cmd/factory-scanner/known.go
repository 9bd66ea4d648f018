package main

import (
	"encoding/json"
	"slices"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/types"
)

// known are the source packages that a database made from changelogs knows, by bucket. Of any other, no advisory means nothing.
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
	for bucket, sources := range lists {
		k[bucket] = make(map[string]bool, len(sources))
		for _, s := range sources {
			k[bucket][s] = true
		}
	}
	return k, nil
}

// divide counts the packages that were looked at, and names the others, sorted, once each. Of packages of languages, changelogs of
// a distribution know nothing.
func (k known) divide(os ftypes.OS, results types.Results) (looked int, others []string) {
	f := familyOf(os.Family)
	for _, part := range results {
		for _, p := range part.Packages {
			if k == nil || f != nil && part.Class == types.ClassOSPkg && k[f.bucketOf(f.release(os.Name))][f.key(p)] {
				looked++
			} else {
				others = append(others, p.Name)
			}
		}
	}
	slices.Sort(others)
	return looked, slices.Compact(others)
}
