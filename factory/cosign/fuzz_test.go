package cosign

import (
	"encoding/base64"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func FuzzStatement(f *testing.F) {
	for _, text := range []string{
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + ProvenanceType + `","predicate":{"buildDefinition":{"buildType":"` + BuildType + `"}}}`,
		`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"` + DecisionType + `","predicate":{"resourceUri":"r.example.com/x:20261123-1a2b3c4d-prod","decision":{}}}`,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + CycloneDXType + `","subject":[{"digest":{"sha256":"00"}}],"predicate":{"components":[{}]}}`,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + VulnerabilityType + `","predicate":{"scanner":{"result":{"findings":[{"severity":"low"}]}}}}`,
		`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + RevocationType + `","predicate":7}`, `null`,
	} {
		f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}`))
	}
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		c, err := claimOf(envelope)
		if err != nil {
			return
		}
		if purposeOf(c) != "" && c.PredicateType == RevocationType {
			t.Error("something replaces a revocation")
		}
		// Whatever was read can be compared without a panic.
		v := &verification{claims: []claim{c}, parts: []part{{name: "the index", digest: factory.DigestOf(nil)}}, trust: &trust{}}
		v.decide()
		must(t, v.statements(t.Context()))
		must(t, v.revocation(t.Context()))
		if n := len(v.checks); n != 7 && n != 7+5 {
			t.Errorf("%d checks", n)
		}
	})
}
