package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"
)

// bomOf makes a document of so many packages of debian 12.
func bomOf(packages int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"bom-ref":"root","type":"container","name":"x"}},"components":[` +
		`{"bom-ref":"os","type":"operating-system","name":"debian","version":"12.8"}`)
	for i := range packages {
		fmt.Fprintf(&b, `,{"bom-ref":"p%d","type":"library","name":"p%d","version":"1","purl":"pkg:deb/debian/p%d@1","properties":[{"name":"aquasecurity:trivy:SrcName","value":"glibc"},{"name":"aquasecurity:trivy:SrcVersion","value":"1"}]}`, i, i, i)
	}
	b.WriteString(`],"dependencies":[`)
	for i := range packages {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"ref":"p%d","dependsOn":["p%d"]}`, i, i+1)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func TestSBOM(t *testing.T) {
	c := converse(t)
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)}, "unavailable", "no vulnerability database")
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	// Packages that nothing says to belong to the distribution do so by their package URL.
	got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(3)}).Result
	if len(got.Findings) != 6 || got.Packages != 3 || got.Distro != "debian 12" {
		t.Errorf("got %+v", got)
	}
	if got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: []byte(`{"bomFormat":"CycloneDX"}`)}).Result; got.Packages != 0 || got.Distro != "" || got.Findings == nil {
		t.Errorf("got %+v", got)
	}
}

// wrap makes a document with these components.
func wrap(components string) string {
	return `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + components + `]}`
}

func TestHostileSBOMs(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	for name, doc := range map[string]string{
		"empty":                      "",
		"garbage":                    "\x00\x01\x02",
		"text":                       "hello",
		"XML":                        `<?xml version="1.0"?><bom xmlns="http://cyclonedx.org/schema/bom/1.6"/>`,
		"array":                      `[]`,
		"SPDX":                       `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}`,
		"two documents":              `{"bomFormat":"CycloneDX"}{"bomFormat":"CycloneDX"}`,
		"cut short":                  string(bomOf(10)[:900]),
		"the same member twice":      `{"bomFormat":"CycloneDX","components":[],"components":[]}`,
		"nested deeply":              `{"bomFormat":"CycloneDX","x":` + strings.Repeat("[", 1_000_000),
		"nested components":          wrap(strings.Repeat(`{"type":"library","components":[`, 100_000)),
		"components that are none":   `{"bomFormat":"CycloneDX","components":{}}`,
		"a name that is none":        wrap(`{"bom-ref":"a","type":"library","name":3}`),
		"package URL":                wrap(`{"bom-ref":"a","type":"library","name":"a","purl":"nonsense"}`),
		"type":                       wrap(`{"bom-ref":"a","type":"spaceship","name":"a"}`),
		"no reference":               wrap(`{"type":"library","name":"a"}`),
		"the same reference":         wrap(`{"bom-ref":"a","type":"library","name":"a"},{"bom-ref":"a","type":"library","name":"b"}`),
		"two distributions":          wrap(`{"bom-ref":"a","type":"operating-system","name":"debian","version":"12"},{"bom-ref":"b","type":"operating-system","name":"debian","version":"11"}`),
		"packages of two":            wrap(`{"bom-ref":"a","type":"library","name":"a","purl":"pkg:deb/debian/a@1"},{"bom-ref":"b","type":"library","name":"b","purl":"pkg:rpm/redhat/a@1"}`),
		"no distribution":            wrap(`{"bom-ref":"a","type":"library","name":"a","purl":"pkg:deb/debian/a@1"}`),
		"an epoch that is no number": wrap(`{"bom-ref":"o","type":"operating-system","name":"debian","version":"12"},{"bom-ref":"a","type":"library","name":"a","purl":"pkg:deb/debian/a@1","properties":[{"name":"aquasecurity:trivy:SrcEpoch","value":"x"}]}`),
		"invalid UTF-8":              wrap("{\"bom-ref\":\"a\",\"type\":\"library\",\"name\":\"\xff\"}"),
		"too long":                   `{"bomFormat":"CycloneDX","x":"` + strings.Repeat("x", maxSBOM) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := &talk{t: t, in: c.in, out: c.out}
			c.refused(scanner.Request{Op: scanner.SBOM, SBOM: []byte(doc)}, "invalid", "SBOM")
		})
	}
	many := `{"bomFormat":"CycloneDX","dependencies":[{"ref":"a","dependsOn":[` + strings.Repeat(`"b",`, maxEdges) + `"b"]}]}`
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: []byte(many)}, "invalid", "dependencies")
	if got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(2)}).Result; len(got.Findings) != 4 {
		t.Errorf("after all that: %+v", got)
	}
}

// A million packages are refused before they fill the memory; as many as may be are matched, a chain of dependencies through all
// of them notwithstanding.
func TestManyPackages(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	var b bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&b, `{"bom-ref":"%d","type":"library","name":"p"},`, i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := targetOf(t.Context(), []byte(wrap(strings.TrimSuffix(b.String(), ","))))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more than 100000 components") {
		t.Errorf("got %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
		t.Errorf("it took %d MB to say no", used>>20)
	}
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: []byte(wrap(strings.TrimSuffix(b.String(), ",")))}, "invalid", "more than 100000 components")
	if got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(20_000)}).Result; got.Packages != 20_000 || len(got.Findings) != 40_000 {
		t.Errorf("%d packages, %d findings", got.Packages, len(got.Findings))
	}
}

// The advisories of another family are found by the same road.
func TestAmazon(t *testing.T) {
	c := converse(t)
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t, factory.Advisories{Distro: factory.Distro{Family: "amazon", Release: "2023"}, Updated: day, Known: []string{"zlib"}, List: []factory.Advisory{
		{Source: "zlib", Vulnerability: "CVE-2026-0009", Fixed: "1.2.11-40.amzn2023", Date: day},
	}})})
	doc := wrap(`{"bom-ref":"o","type":"operating-system","name":"amazon","version":"2023.9.20250929 (Amazon Linux)"},` +
		`{"bom-ref":"a","type":"library","name":"zlib","version":"1.2.11-33.amzn2023","purl":"pkg:rpm/amazon/zlib@1.2.11-33.amzn2023?arch=x86_64"}`)
	got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: []byte(doc)}).Result
	if len(got.Findings) != 1 || got.Packages != 1 || got.Distro != "amazon 2023" || got.Findings[0].Fixed != "1.2.11-40.amzn2023" || !got.Findings[0].FixedOn.Equal(day) {
		t.Errorf("got %+v", got)
	}
	c.refused(scanner.Request{Op: scanner.SBOM, SBOM: bomOf(1)}, "unavailable", "knows nothing about debian 12")
	// Of a distribution that is not in the table nothing is known beforehand.
	other := strings.Replace(doc, `"amazon"`, `"plan9"`, 1)
	if got := c.must(scanner.Request{Op: scanner.SBOM, SBOM: []byte(other)}).Result; got.Packages != 0 || !strings.HasPrefix(got.Distro, "plan9") {
		t.Errorf("got %+v", got)
	}
}

func TestTargetIsTheSameInAnyOrder(t *testing.T) {
	doc := func(refs ...string) []byte {
		parts := map[string]string{
			"o": `{"bom-ref":"o","type":"operating-system","name":"debian","version":"12"}`,
			"m": `{"bom-ref":"m","type":"application","name":"bin/m","properties":[{"name":"aquasecurity:trivy:Type","value":"gobinary"}]}`,
			"g": `{"bom-ref":"g","type":"library","name":"example.com/g","purl":"pkg:golang/example.com/g@v1.0.0"}`,
			"a": `{"bom-ref":"a","type":"library","name":"a","purl":"pkg:deb/debian/a@1"}`,
			"x": `{"bom-ref":"x","type":"library","name":"local"}`,
		}
		var all []string
		for _, r := range refs {
			all = append(all, parts[r])
		}
		return []byte(strings.TrimSuffix(wrap(strings.Join(all, ",")), "}") + `,"dependencies":[{"ref":"o","dependsOn":["a","nobody"]},{"ref":"m","dependsOn":["g","x"]},{"ref":"g","dependsOn":["m","g"]}]}`)
	}
	first, err := targetOf(t.Context(), doc("o", "m", "g", "a", "x"))
	if err != nil || len(first.Packages) != 1 || len(first.Applications) != 1 || first.Applications[0].FilePath != "bin/m" || len(first.Applications[0].Packages) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := targetOf(t.Context(), doc("x", "a", "g", "m", "o"))
	if err != nil || fmt.Sprint(first.Packages[0].ID, first.Applications[0].Packages[0].ID) != fmt.Sprint(second.Packages[0].ID, second.Applications[0].Packages[0].ID) {
		t.Errorf("%+v, %v", second, err)
	}
}

func FuzzSBOM(f *testing.F) {
	f.Add(bomOf(3))
	f.Add([]byte(wrap(`{"bom-ref":"a","type":"library","name":"a","purl":"pkg:rpm/redhat/a@1?epoch=1"}`)))
	f.Add([]byte(`{"bomFormat":"CycloneDX","metadata":null,"components":null}`))
	for d, version := range versions {
		f.Add(rpmBOM(d, version, []string{"a", "9:1^git~1-1.el9", "nodejs:20:1"}, []string{"gpg-pubkey", "1-1"}))
	}
	f.Add(bytes.ReplaceAll(rpmBOM(redhat9, "9.4", []string{"a", "1-1", "x"}), []byte("aquasecurity:trivy:Modularitylabel"), []byte(ownProperty+propertyClass)))
	var s server
	if _, err := s.db.use(makeDatabase(f, manyReleases()...)); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.db.close)
	f.Fuzz(func(t *testing.T, doc []byte) {
		reply := s.answer(scanner.Request{ID: 1, Op: scanner.SBOM, SBOM: doc})
		if e := reply.Error; e != nil && e.Kind != "invalid" && !(e.Kind == "unavailable" && strings.Contains(e.What, "knows nothing")) {
			t.Errorf("%+v", e)
		}
		if b, err := json.Marshal(reply); err != nil || !json.Valid(b) {
			t.Error(err)
		}
		if again := s.answer(scanner.Request{ID: 1, Op: scanner.SBOM, SBOM: doc}); reply.Error == nil && !reflect.DeepEqual(again, reply) {
			t.Errorf("got %+v, then %+v", reply.Result, again.Result)
		}
	})
}
