package cosign

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

const prodTag = "20261123-1a2b3c4d-prod"

// detail returns what a check says.
func detail(t *testing.T, checks []Check, name string) string {
	t.Helper()
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %q in %+v", name, checks)
	}
	return checks[i].Detail
}

// says attaches statements that s signs, whatever they say.
func says(t *testing.T, s *Signer, repository string, drafts ...draft) {
	t.Helper()
	sigs, err := s.attest(t.Context(), repository, drafts...)
	must(t, err)
	must(t, s.Attach(t.Context(), repository, sigs))
}

// without returns sigs but those of a predicate type.
func without(sigs []factory.Signature, predicateTypes ...string) []factory.Signature {
	return slices.DeleteFunc(slices.Clone(sigs), func(s factory.Signature) bool { return slices.Contains(predicateTypes, s.Predicate) })
}

// of is one predicate's JSON, as it was signed.
func of(t *testing.T, sigs []factory.Signature, predicateType string) string {
	t.Helper()
	for _, s := range sigs {
		if s.Predicate == predicateType {
			c, err := claimOf(s.Payload)
			must(t, err)
			return string(c.Predicate)
		}
	}
	t.Fatalf("nothing of type %s", predicateType)
	return ""
}

func must2[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T { t.Helper(); must(t, err); return v }
}

func clock(at time.Time) func() time.Time { return func() time.Time { return at } }

func TestWhatIsAttested(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	_, sigs := release(t, s, repository, nil)
	checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub, Env: factory.Prod, MaxAge: 24 * time.Hour, Now: clock(began.Add(time.Hour)), Builder: builderID})
	if err != nil {
		t.Fatalf("%v\n%+v", err, checks)
	}
	for name, want := range map[string]string{
		"SBOM of linux/arm64":  "CycloneDX (2 packages) and SPDX of sha256:",
		"vulnerability report": "1 high, 1 unknown of 4 packages (and 1 NOT looked at), by trivy@0.74.0 with archive advisories of 2026-11-22 (fixes only), scanned 2026-11-23 02:00",
		"compliance":           "linux/amd64 container level 2: 2 of 5, 1 fail, 1 waived, 1 undecided, 1 not applicable (SCAP Security Guide 0.1.82, OpenSCAP 1.4.2)",
		"VEX":                  "1 not_affected",
		"decision":             prodTag + " was let in on 2026-11-23 02:00, by prod:default " + factory.DigestOf([]byte("policy")).Short() + ", with 1 waived",
		"revocation":           "the key has not revoked it",
	} {
		if got := detail(t, checks, name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	for predicateType, words := range map[string][]string{
		VulnerabilityType: {`"kind":"archive"`, `"packages":4,"notLookedAt":["abandoned"]`, `"lastUpdate":"2026-11-22T20:00:00Z"`, `"description":"archive advisories of 2026-11-22 (fixes only)"`, `"critical":0`, `"scanFinishedOn":"2026-11-23T02:00:00Z"`, string(factory.DigestOf([]byte("database")))},
		ComplianceType:    {`"a_fails"`, `"d_waived"`, `"no such users"`, `"e_unknown"`, `"text":"2 of 5, 1 fail`, `"arf:linux/amd64 container level 2"`, factory.DigestOf([]byte("<arf/>")).Hex(), `"canaries":["file`},
		DecisionType:      {`"verificationResult":"PASSED"`, `"resourceUri":"` + repository + ":" + prodTag + "@sha256:", `"env":"prod"`, `"timeVerified":"2026-11-23T02:00:00Z"`, `"has no fix"`, `"name":"` + VEXType + `"`, `"IMAGEFACTORY_PROD"`},
		ProvenanceType:    {`"name":"cyclonedx:linux/amd64"`, `"name":"compliance-html:linux/amd64 container level 2"`, `"name":"openvex:debian-12"`},
	} {
		text := of(t, sigs, predicateType)
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %s:\n%s", predicateType, w, text)
			}
		}
		if strings.Contains(text, "mirror.example.com") || strings.Contains(text, "b_passes") {
			t.Errorf("%s says more than it should:\n%s", predicateType, text)
		}
	}
}

// What is not approved, or lacks evidence, is not signed.
func TestNothingIsSignedWithoutEvidence(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	a := factory.Artifact{Digest: factory.DigestOf([]byte("index")), Platforms: []factory.PlatformImage{{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Digest: factory.DigestOf([]byte("amd64"))}}}
	e := examined(a)
	blocked, err := factory.Approve(e, factory.Decision{})
	if err == nil {
		t.Fatal("approved by nobody")
	}
	for what, unapproved := range map[string]factory.Approved{"blocked": blocked, "made by hand": {Examined: e, Decision: decided(e)}} {
		if sigs, err := s.Sign(t.Context(), "r.example.com/x", unapproved); !errors.Is(err, factory.ErrBlocked) || sigs != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(*factory.Examined){
		"no SBOM":   func(e *factory.Examined) { e.Scanned.Documents = e.Scanned.Documents[1:] },
		"no SPDX":   func(e *factory.Examined) { e.Scanned.Documents = slices.Delete(e.Scanned.Documents, 1, 2) },
		"junk SBOM": func(e *factory.Examined) { e.Scanned.Documents[0].Data = []byte("{") },
		"huge SBOM": func(e *factory.Examined) {
			e.Scanned.Documents[0].Data = []byte(`"` + strings.Repeat("x", maxAttestation/2) + `"`)
		},
		"no VEX":      func(e *factory.Examined) { e.Scanned.Documents = e.Scanned.Documents[:4] },
		"junk VEX":    func(e *factory.Examined) { e.Scanned.Documents[4].Data = []byte(`{"@context":"elsewhere"}`) },
		"not scanned": func(e *factory.Examined) { e.Scanned.Scan = factory.Scan{} },
	} {
		e := examined(a)
		change(&e)
		if sigs, err := s.Sign(t.Context(), "r.example.com/x", approved(t, e)); !errors.Is(err, factory.ErrInvalid) || sigs != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	release(t, s, repository, nil) // scanned when it began, with data six hours older
	for what, tc := range map[string]struct {
		now time.Time
		max time.Duration
		why string
	}{
		"fresh":              {began.Add(time.Hour), 8 * time.Hour, ""},
		"nobody asks":        {began.AddDate(9, 0, 0), 0, ""},
		"old data":           {began.Add(time.Hour), 6 * time.Hour, "its data was made 7h0m ago, at most 6h0m are allowed"},
		"old scan":           {began.Add(9 * time.Hour), 8 * time.Hour, "it was made 9h0m ago, at most 8h0m are allowed"},
		"no patience":        {began.Add(time.Hour), 1, "it was made 1h0m ago, at most no time are allowed"},
		"data from tomorrow": {began.Add(-6*time.Hour - time.Minute), 8 * time.Hour, "it was made in the future"},
		"clocks differ":      {began.Add(-5 * time.Minute), 8 * time.Hour, ""},
		"clock was put back": {began.Add(-time.Hour), 8 * time.Hour, "it was made in the future, 2026-11-23 02:00, so somebody's clock is wrong"},
	} {
		checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub, MaxAge: tc.max, Now: clock(tc.now)})
		if says := detail(t, checks, "vulnerability report"); (err == nil) != (tc.why == "") || !strings.HasPrefix(says, tc.why) {
			t.Errorf("%s: %v, %s", what, err, says)
		}
	}
	if _, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub, MaxAge: 1}); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("an age without a clock: %v", err)
	}
}

// An older report or decision put back in place of the newer one is as genuine as ever; its age tells. Beside the newer one it does
// nothing.
func TestReplayedReport(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, old := release(t, s, repository, nil)
	later := examined(a).Scanned.Scan
	later.At, later.Database.Updated = began.AddDate(0, 0, 7), began.AddDate(0, 0, 7)
	later.Findings = nil
	again := decided(examined(a))
	again.At = later.At
	fresh := must2(s.Rescanned(t.Context(), repository, a, Rescan{Scan: later, VEX: vex, Decisions: map[factory.Tag]factory.Decision{tagFor(examined(a)): again}}))(t)
	must(t, s.Attach(t.Context(), repository, fresh))
	o := VerifyOptions{Key: pub, MaxAge: 48 * time.Hour, Now: clock(began.AddDate(0, 0, 8))}
	verify := func() ([]Check, error) { return Verify(t.Context(), repository+":"+prodTag, o) }

	checks, err := verify()
	if err != nil || !strings.HasPrefix(detail(t, checks, "vulnerability report"), "no findings of 4 packages") {
		t.Errorf("after a rescan: %v\n%+v", err, checks)
	}
	if n := count(t, repository, a.Digest, attestations); n != 9 {
		t.Errorf("%d attestations after a rescan", n)
	}
	// Attached by somebody who does not replace anything.
	mirrored(t, repository, a.Digest, slices.Concat(without(old, ""), without(fresh, VEXType)))
	if checks, err := verify(); err != nil {
		t.Errorf("both: %v\n%+v", err, checks)
	}
	mirrored(t, repository, a.Digest, without(old, ""))
	if checks, _ := verify(); !slices.Equal(failed(checks), []string{"vulnerability report", "decision"}) {
		t.Errorf("put back: %+v", checks)
	}
	mirrored(t, repository, a.Digest, slices.Concat(without(old, "", VulnerabilityType), without(fresh, VEXType, DecisionType)))
	if checks, _ := verify(); !slices.Equal(failed(checks), []string{"decision"}) {
		t.Errorf("the decision put back: %+v", checks)
	}
}

// A release from before all this was attested is not good enough, and the lines say what to do.
func TestEarlierRelease(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, sigs := release(t, s, repository, nil)
	mirrored(t, repository, a.Digest, without(sigs, "", CycloneDXType, SPDXType, VulnerabilityType, ComplianceType, VEXType, DecisionType))
	checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub})
	if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), everyStatement[1:]) {
		t.Errorf("%v\n%+v", err, checks)
	}
	for _, name := range everyStatement[1:] {
		if got := detail(t, checks, name); !strings.Contains(got, "there is none; ") || !strings.Contains(got, "rebuild it") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// endless is data that a registry pretends to have.
type endless struct{ served *int64 }

func (e endless) Read(p []byte) (int, error) { *e.served += int64(len(p)); return len(p), nil }
func (e endless) Close() error               { return nil }

func TestHugeAttestation(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a, _ := release(t, s, repository, nil)
	r, err := name.NewRepository(repository)
	must(t, err)
	desc, err := remote.Get(attachmentTag(r, a.Digest, attestations))
	must(t, err)
	blob := factory.DigestOf([]byte("huge"))
	var m map[string]any
	must(t, json.Unmarshal(desc.Manifest, &m))
	genuine := m["layers"].([]any)
	for what, tc := range map[string]struct {
		size   int64
		times  int
		failed []string
	}{
		"one":            {1 << 40, 1, nil},
		"many":           {maxAttestation, 5, everyStatement},
		"less than said": {1 << 10, 1, nil},
	} {
		layers := slices.Clone(genuine)
		for range tc.times {
			layers = append(layers, map[string]any{"mediaType": "application/vnd.dsse.envelope.v1+json", "size": tc.size, "digest": blob})
		}
		m["layers"] = layers
		text, err := json.Marshal(m)
		must(t, err)
		must(t, remote.Put(attachmentTag(r, a.Digest, attestations), raw{text, types.OCIManifestSchema1}))
		var served int64
		far := Remote{Transport: wire(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/blobs/"+string(blob)) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: endless{&served}, Request: r}, nil
			}
			return http.DefaultTransport.RoundTrip(r)
		})}
		checks, err := Verify(t.Context(), repository+":"+prodTag, VerifyOptions{Key: pub, Remote: far})
		if !slices.Equal(failed(checks), tc.failed) || (err == nil) != (tc.failed == nil) {
			t.Errorf("%s: %v\n%+v", what, err, checks)
		}
		if served > 1<<20 {
			t.Errorf("%s: read %d bytes", what, served)
		}
	}
}
