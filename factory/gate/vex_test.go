package gate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openvex/go-vex/pkg/vex"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

var meta = gate.VEXMeta{Author: "https://example.com/factory", Version: "1.2.3", Repository: "registry.example.com:5000/base/debian-12"}

func statements(t *testing.T, e factory.Evidence, m gate.VEXMeta) (*vex.VEX, []byte) {
	t.Helper()
	b, err := gate.VEX(e, gate.Decide(policy(), e), m)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := vex.Parse(b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	for _, s := range doc.Statements {
		if err := s.Validate(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	return doc, b
}

// The whole document, once.
func TestVEX(t *testing.T) {
	t.Parallel()
	e := evidence()
	f := finding()
	f.Purl = "pkg:deb/debian/openssl@3.0.1?arch=amd64&distro=debian-12"
	e.Scan.Findings = []factory.Finding{f}
	doc, b := statements(t, e, meta)
	hex := e.Digest.Hex()
	image := "pkg:oci/debian-12@sha256%3A" + hex + "?repository_url=registry.example.com%3A5000%2Fbase%2Fdebian-12"
	want := `{
  "@context": "https://openvex.dev/ns/v0.2.0",
  "@id": "` + doc.ID + `",
  "author": "https://example.com/factory",
  "role": "image producer",
  "timestamp": "2026-11-23T12:00:00Z",
  "version": 1,
  "tooling": "image factory 1.2.3",
  "statements": [
    {
      "vulnerability": {
        "name": "CVE-2026-1001"
      },
      "products": [
        {
          "@id": "` + image + `",
          "identifiers": {
            "purl": "` + image + `"
          },
          "hashes": {
            "sha-256": "` + hex + `"
          },
          "subcomponents": [
            {
              "@id": "pkg:deb/debian/openssl@3.0.1?arch=amd64&distro=debian-12"
            }
          ]
        }
      ],
      "status": "affected",
      "status_notes": "the policy for prod (default) wants it fixed by 2026-11-22",
      "action_statement": "Use a newer release of the image, or update openssl to 3.0.2."
    }
  ]
}
`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.ID) {
		t.Errorf("id %s", doc.ID)
	}
	// A reader finds it by the purls that scanners make.
	for _, product := range []string{image, "pkg:oci/debian-12@sha256:" + hex + "?arch=amd64&repository_url=registry.example.com:5000/base/debian-12"} {
		if found := doc.Matches("CVE-2026-1001", product, []string{f.Purl}); len(found) != 1 {
			t.Errorf("%s is not found", product)
		}
	}
	if found := doc.Matches("CVE-2026-1001", strings.Replace(image, hex, strings.Repeat("0", 64), 1), []string{f.Purl}); len(found) != 0 {
		t.Error("it speaks of another image")
	}
}

func TestVEXStatus(t *testing.T) {
	t.Parallel()
	type W = *factory.Waiver
	type F = *factory.Finding
	none := func(w W, _ F) { w.ID = "CVE-2000-0001" }
	for _, c := range []struct {
		name                        string
		edit                        func(w W, f F)
		status                      vex.Status
		justification               vex.Justification
		action, notes, subcomponent string
	}{
		{"waived", func(W, F) {}, vex.StatusAffected, "", "The risk is accepted until 2026-12-31 by linux: not reachable", "", ""},
		{"waived and justified", func(w W, _ F) { w.Justification = "vulnerable_code_not_in_execute_path" }, vex.StatusNotAffected, vex.VulnerableCodeNotInExecutePath, "", "not reachable (linux, until 2026-12-31)", ""},
		{"justified, but ended", func(w W, _ F) { w.Justification, w.Until = "component_not_present", day("2026-11-22") }, vex.StatusAffected, "", "Use a newer release of the image, or update openssl to 3.0.2.", "the policy for prod (default) wants it fixed by 2026-11-22", ""},
		{"no deadline", func(w W, f F) { none(w, f); f.Severity = factory.Unknown; f.FixedOn = noon("2026-11-22") }, vex.StatusAffected, "", "Use a newer release of the image, or update openssl to 3.0.2.", "the policy for prod (default) wants it fixed by 2026-11-29", ""},
		{"no fix", func(w W, f F) { none(w, f); f.Fixed, f.Status = "", "will_not_fix" }, vex.StatusAffected, "", "No fix is available yet; the image is rebuilt when there is one.", "the data source says will_not_fix", ""},
		{"no fix, nothing said", func(w W, f F) { none(w, f); f.Fixed = "" }, vex.StatusAffected, "", "No fix is available yet; the image is rebuilt when there is one.", "", ""},
		{"nobody knows yet", func(w W, f F) { none(w, f); f.Fixed, f.Status = "", "under_investigation" }, vex.StatusUnderInvestigation, "", "", "there is no fix yet, and the data source has not said whether the package is affected", ""},
		{"made a purl", func(w W, f F) { none(w, f); f.Package, f.Version = "libstdc++6", "1:2.3+b1~x" }, vex.StatusAffected, "", "Use a newer release of the image, or update libstdc++6 to 3.0.2.", "the policy for prod (default) wants it fixed by 2026-11-22", "pkg:deb/debian/libstdc%2B%2B6@1:2.3%2Bb1~x?distro=debian-12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e, w, f := evidence(), waiver(), finding()
			c.edit(&w, &f)
			e.Scan.Findings, e.Image.Waivers = []factory.Finding{f}, []factory.Waiver{w}
			doc, b := statements(t, e, meta)
			s := doc.Statements[0]
			if s.Status != c.status || s.Justification != c.justification || s.ActionStatement != c.action || s.StatusNotes != c.notes || s.ImpactStatement != "" {
				t.Errorf("%s", b)
			}
			if got := s.Products[0].Subcomponents[0].ID; c.subcomponent != "" && got != c.subcomponent {
				t.Errorf("%s, want %s", got, c.subcomponent)
			}
		})
	}
}

// That a finding is gone is not said of a package that nobody looked at.
func TestVEXFixedAndNotLookedAt(t *testing.T) {
	t.Parallel()
	e, m := evidence(), meta
	m.Fixed = []factory.Finding{finding(), {Vulnerability: "CVE-2026-0998", Package: "zlib", Version: "1"}}
	e.Scan.NotLookedAt = []string{"openssl", "tar"}
	if doc, b := statements(t, e, m); len(doc.Statements) != 1 || doc.Statements[0].Vulnerability.Name != "CVE-2026-0998" {
		t.Errorf("%s", b)
	}
}

func TestVEXFixed(t *testing.T) {
	t.Parallel()
	e := evidence()
	old, still := finding(), finding()
	old.Vulnerability, old.FixedSince, old.Purl = "CVE-2026-0999", noon("2026-11-21"), "pkg:deb/debian/openssl@3.0.0?arch=amd64&distro=debian-12"
	bare := factory.Finding{Vulnerability: "CVE-2026-0998", Package: "zlib", Version: "1"}
	e.Scan.Findings = []factory.Finding{still}
	m := meta
	m.Fixed = []factory.Finding{still, old, bare, old}
	doc, b := statements(t, e, m)
	if len(doc.Statements) != 3 {
		t.Fatalf("%s", b)
	}
	s := doc.Statements[1]
	if s.Status != vex.StatusFixed || s.StatusNotes != "fixed in openssl 3.0.2, and in the image since 2026-11-21" || s.Products[0].Subcomponents[0].ID != "pkg:deb/debian/openssl?arch=amd64&distro=debian-12" {
		t.Errorf("%s", b)
	}
	if s := doc.Statements[0]; s.StatusNotes != "fixed" || s.Products[0].Subcomponents[0].ID != "pkg:deb/debian/zlib?distro=debian-12" {
		t.Errorf("%s", b)
	}
	if doc.Statements[2].Status != vex.StatusAffected {
		t.Error("what the image still has is called fixed")
	}
}

func TestVEXOfLittle(t *testing.T) {
	t.Parallel()
	e := evidence()
	doc, b := statements(t, e, gate.VEXMeta{})
	if doc.Author != "linux@example.com" || doc.Tooling != "image factory" || len(doc.Statements) != 0 || !bytes.Contains(b, []byte(`"statements": []`)) {
		t.Errorf("%s", b)
	}
	e.Image = factory.Image{Name: "rocky", Distro: factory.Distro{Family: "rhel"}}
	e.Scan.Findings = []factory.Finding{finding()}
	doc, b = statements(t, e, gate.VEXMeta{})
	for family, want := range map[string]string{"redhat": "pkg:rpm/redhat/openssl@3.2.2-6.el9_5?distro=redhat-9&epoch=1", "amazon": "pkg:rpm/amazon/openssl@3.2.2-6.el9_5?distro=amazon-9&epoch=1",
		"debian": "pkg:deb/debian/openssl@1:3.2.2-6.el9_5?distro=debian-9", "ubuntu": "pkg:deb/ubuntu/openssl@1:3.2.2-6.el9_5?distro=ubuntu-9"} {
		of, f := evidence(), finding()
		f.Version, of.Image.Distro = "1:3.2.2-6.el9_5", factory.Distro{Family: family, Release: "9"}
		of.Scan.Findings = []factory.Finding{f}
		made, _ := statements(t, of, gate.VEXMeta{})
		if got := made.Statements[0].Products[0].Subcomponents[0].ID; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if doc.Author != "image factory" || doc.Statements[0].Products[0].ID != "pkg:oci/rocky@sha256%3A"+e.Digest.Hex() || doc.Statements[0].Products[0].Subcomponents[0].ID != "pkg:rpm/rhel/openssl@3.0.1" {
		t.Errorf("%s", b)
	}
	for name, edit := range map[string]func(d *factory.Decision){
		"another image": func(d *factory.Decision) { d.Digest = factory.DigestOf(nil) },
		"no image":      func(d *factory.Decision) { d.Digest = "" },
		"another place": func(d *factory.Decision) { d.Env = factory.Dev },
	} {
		d := gate.Decide(policy(), e)
		edit(&d)
		if _, err := gate.VEX(e, d, meta); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever was found: a document that others can read, the same each time, with one statement for each finding, and with
// no key that the published schema does not know.
func TestVEXProperties(t *testing.T) {
	t.Parallel()
	w := world{rand.New(rand.NewPCG(3, 2))}
	known := strings.Fields("@context @id author role timestamp version tooling statements vulnerability name products identifiers purl hashes sha-256 subcomponents status status_notes justification action_statement")
	for range 500 {
		e := w.evidence()
		e.Scan.Findings = factory.MergeFindings(e.Scan.Findings)
		doc, b := statements(t, e, meta)
		if len(doc.Statements) != len(e.Scan.Findings) {
			t.Fatalf("%d findings: %s", len(e.Scan.Findings), b)
		}
		slices.Reverse(e.Scan.Findings)
		if _, again := statements(t, e, meta); !bytes.Equal(again, b) {
			t.Fatalf("%s\n%s", b, again)
		}
		var any map[string]any
		if err := json.Unmarshal(b, &any); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys(any) {
			if !slices.Contains(known, key) {
				t.Fatalf("%q is no key of OpenVEX", key)
			}
		}
	}
}

func keys(v any) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			all = append(append(all, key), keys(inner)...)
		}
	case []any:
		for _, inner := range v {
			all = append(all, keys(inner)...)
		}
	}
	return all
}
