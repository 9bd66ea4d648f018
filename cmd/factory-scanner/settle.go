package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// settle replaces the random references of a document's components by ones that come from what the components are and what they
// belong to, and sorts by them.
func (p papers) settle(doc *cdx.BOM) {
	all := []*cdx.Component{doc.Metadata.Component}
	for i := range *doc.Components {
		all = append(all, &(*doc.Components)[i])
	}
	settled := p.references(all, *doc.Dependencies)
	for _, c := range all {
		c.BOMRef = settled[c.BOMRef]
	}
	for i, d := range *doc.Dependencies {
		(*doc.Dependencies)[i].Ref = settled[d.Ref]
		if d.Dependencies != nil {
			for j, on := range *d.Dependencies {
				(*d.Dependencies)[j] = settled[on]
			}
			slices.Sort(*d.Dependencies)
		}
	}
	slices.SortFunc(*doc.Components, func(a, b cdx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	slices.SortFunc(*doc.Dependencies, func(a, b cdx.Dependency) int { return cmp.Compare(a.Ref, b.Ref) })
}

// references returns the settled reference for each one there is.
func (p papers) references(all []*cdx.Component, edges []cdx.Dependency) map[string]string {
	prints := fingerprints(all, edges)
	settled, used := make(map[string]string, len(all)), map[string]int{}
	for _, c := range all {
		settled[c.BOMRef] = c.BOMRef
		if uuid.Validate(c.BOMRef) == nil {
			print := prints[c.BOMRef]
			// Components with the same print are alike in everything: which of them gets which number makes no difference.
			settled[c.BOMRef] = p.id(print + " " + strconv.Itoa(used[print])).String()
			used[print]++
		}
	}
	return settled
}

// fingerprints returns what tells components apart, by reference: what they are, and what lies up to three steps around them.
func fingerprints(all []*cdx.Component, edges []cdx.Dependency) map[string]string {
	prints := make(map[string]string, len(all))
	for _, c := range all {
		plain := *c
		plain.BOMRef = ""
		b, err := json.Marshal(plain)
		if err != nil {
			b = []byte(plain.Name + " " + plain.Version)
		}
		prints[c.BOMRef] = fingerprint(string(b))
	}
	for range 3 {
		around := map[string][]string{}
		for _, e := range edges {
			if e.Dependencies == nil {
				continue
			}
			for _, on := range *e.Dependencies {
				around[e.Ref] = append(around[e.Ref], "> "+prints[on])
				around[on] = append(around[on], "< "+prints[e.Ref])
			}
		}
		next := make(map[string]string, len(prints))
		for ref, print := range prints {
			next[ref] = fingerprint(print, slices.Sorted(slices.Values(around[ref]))...)
		}
		prints = next
	}
	return prints
}

func fingerprint(first string, more ...string) string {
	sum := sha256.Sum256([]byte(first + "\n" + strings.Join(more, "\n")))
	return hex.EncodeToString(sum[:])
}
