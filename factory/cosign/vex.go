package cosign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// exploitability is as much of an OpenVEX document as is compared.
type exploitability struct {
	Context     string    `json:"@context"`
	Timestamp   time.Time `json:"timestamp"`
	LastUpdated time.Time `json:"last_updated"`
	Statements  []struct {
		Status string `json:"status"`
	} `json:"statements"`
}

// vexOf is the statement with an OpenVEX document as it is.
func vexOf(about []resource, document []byte) (draft, error) {
	var e exploitability
	if err := json.Unmarshal(document, &e); err != nil || !e.versioned() {
		return draft{}, &factory.Problem{Kind: factory.ErrInvalid, What: "what is to be attested is no OpenVEX document", Cause: err}
	}
	return draftOf(VEXType, about, json.RawMessage(document))
}

func (e exploitability) versioned() bool { return strings.HasPrefix(e.Context, VEXType+"/v") }

// vex checks that there is an OpenVEX document, and counts what it says.
func (v *verification) vex() {
	const name = "VEX"
	st, why := newest(v, VEXType, rescan, func(e exploitability) time.Time {
		if e.LastUpdated.IsZero() {
			return e.Timestamp
		}
		return e.LastUpdated
	})
	if st == nil {
		v.add(name, false, "%s", why)
		return
	}
	if !st.Predicate.versioned() {
		v.add(name, false, "it is no OpenVEX document, but %.80q", st.Predicate.Context)
		return
	}
	counts := map[string]int{}
	for _, s := range st.Predicate.Statements {
		counts[s.Status]++
	}
	var words []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		words = append(words, fmt.Sprintf("%d %.40s", counts[status], status))
	}
	v.add(name, true, "%s", cmp.Or(strings.Join(words, ", "), "it makes no statement"))
}
