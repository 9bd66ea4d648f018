package cosign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// bills are the two forms of SBOM that every platform has.
var bills = []struct {
	kind      factory.DocumentKind
	name      string
	predicate string // type
}{
	{factory.CycloneDX, "CycloneDX", CycloneDXType},
	{factory.SPDX, "SPDX", SPDXType},
}

// bill is as much of an SBOM as is compared: what it says it is about, and how much is in it.
type bill struct {
	Metadata struct { // CycloneDX
		Component struct {
			Name string `json:"name"`
			Purl string `json:"purl"`
		} `json:"component"`
	} `json:"metadata"`
	Components []struct {
		Type string `json:"type"`
	} `json:"components"`
	Name string `json:"name"` // SPDX
}

// sboms are the statements with the SBOMs of each platform of a, as they are. A platform without one is ErrInvalid.
func sboms(repository string, a factory.Approved) (all []draft, err error) {
	for _, p := range platforms(a.Artifact) {
		for _, b := range bills {
			d, err := document(a.Documents(), b.kind, p.Platform)
			if err != nil {
				return nil, err
			}
			made, err := draftOf(b.predicate, subjects(repository, a.Artifact.Digest, p), json.RawMessage(d.Data))
			if err != nil {
				return nil, err
			}
			all = append(all, made)
		}
	}
	return all, nil
}

// document finds the document of a kind about a platform; the zero platform is the whole image.
func document(all []factory.Document, kind factory.DocumentKind, p factory.Platform) (factory.Document, error) {
	i := slices.IndexFunc(all, func(d factory.Document) bool { return d.Kind == kind && d.Platform == p })
	if i < 0 {
		return factory.Document{}, &factory.Problem{Kind: factory.ErrInvalid, What: strings.TrimSpace(fmt.Sprintf("nothing to attest: no %s document %s", kind, p)),
			Hint: "an image is signed with all its evidence or not at all"}
	}
	return all[i], nil
}

// sboms checks the SBOMs of every platform: they are about its manifest and nothing else, and describe this image.
func (v *verification) sboms() {
	for _, p := range v.manifests() {
		var good, bad []string
		for _, b := range bills {
			if said, why := v.sbom(b.predicate, p); why != "" {
				bad = append(bad, b.name+": "+why)
			} else {
				good = append(good, b.name+said)
			}
		}
		if len(bad) > 0 {
			v.add("SBOM of "+p.name, false, "%s", strings.Join(bad, "; "))
		} else {
			v.add("SBOM of "+p.name, true, "%s of %s", strings.Join(good, " and "), p.digest)
		}
	}
}

// manifests are the platforms, or the image itself when it is for one only.
func (v *verification) manifests() []part {
	if len(v.parts) > 1 {
		return v.parts[1:]
	}
	return v.parts
}

// sbom finds the SBOM of p in one form and says how many packages it lists, or else why there is none.
func (v *verification) sbom(predicateType string, p part) (said, why string) {
	want := []string{v.digest.Hex(), p.digest.Hex()}
	slices.Sort(want)
	want = slices.Compact(want)
	for _, c := range v.claims {
		if c.PredicateType != predicateType {
			continue
		}
		var about []string
		for _, s := range c.Subject {
			about = append(about, s.Digest["sha256"])
		}
		if slices.Sort(about); !slices.Equal(about, want) {
			why = cmp.Or(why, "it speaks of other manifests")
			continue
		}
		if said, why = v.describes(c, want); why == "" {
			return said, ""
		}
	}
	return "", cmp.Or(why, v.lacking(predicateType, rebuild))
}

// describes says why an SBOM describes something else than the image with these digests, or else how many packages it lists.
func (v *verification) describes(c claim, digests []string) (said, wrong string) {
	st, err := read[bill](c)
	if err != nil {
		return "", "it is not readable: " + err.Error()
	}
	b := st.Predicate
	name := b.Name
	if c.PredicateType == CycloneDXType {
		name = b.Metadata.Component.Name
		said = fmt.Sprintf(" (%d packages)", b.packages())
	}
	if short, _, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], "@"); short != v.ref.Name() && !strings.HasPrefix(short, v.ref.Name()+":") {
		return "", fmt.Sprintf("it describes %.80q, the image is %s", name, v.ref.Name())
	}
	for _, d := range purlDigest.FindAllStringSubmatch(b.Metadata.Component.Purl, -1) {
		if !slices.Contains(digests, d[1]) {
			return "", "it describes sha256:" + factory.Digest(d[1]).Short()
		}
	}
	return said, ""
}

var purlDigest = regexp.MustCompile(`sha256(?::|%3[Aa])([0-9a-f]{64})`)

func (b bill) packages() (n int) {
	for _, c := range b.Components {
		if c.Type == "library" {
			n++
		}
	}
	return n
}
