package cosign

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	commit    = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
	builderID = "https://factory.example.com/nightly"
)

var began = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve starts an in-memory registry and returns its host.
func serve(t *testing.T, referrers bool) string {
	t.Helper()
	srv := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// publish pushes a new two-platform image that names its revision.
func publish(t *testing.T, repository, revision string) factory.Artifact {
	t.Helper()
	var a factory.Artifact
	repo, err := name.NewRepository(repository)
	must(t, err)
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(500, 1)
		must(t, err)
		config, err := img.ConfigFile()
		must(t, err)
		config.OS, config.Architecture = "linux", arch
		config.Config.Labels = map[string]string{"org.opencontainers.image.revision": revision}
		img, err = mutate.ConfigFile(img, config)
		must(t, err)
		d, err := img.Digest()
		must(t, err)
		a.Platforms = append(a.Platforms, factory.PlatformImage{Platform: factory.Platform{OS: "linux", Architecture: arch}, Digest: factory.Digest(d.String())})
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	d, err := index.Digest()
	must(t, err)
	a.Digest = factory.Digest(d.String())
	must(t, remote.WriteIndex(repo.Digest(d.String()), index))
	return a
}

// retag lets a tag stand for a digest, as anybody with write access can.
func retag(t *testing.T, repository, tag string, d factory.Digest) {
	t.Helper()
	repo, err := name.NewRepository(repository)
	must(t, err)
	desc, err := remote.Get(repo.Digest(string(d)))
	must(t, err)
	must(t, remote.Tag(repo.Tag(tag), desc))
}

// examined is a result of the pipeline about a.
func examined(a factory.Artifact) factory.Examined {
	var t factory.Examined
	platforms := []factory.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	t.Job = factory.Job{
		Image:  factory.Image{Name: "debian-12", Distro: factory.Distro{Family: "debian", Release: "12"}, Platforms: platforms},
		Action: factory.Rebuild, Reason: "bash changed", Env: factory.Prod,
		Source: factory.Source{Commit: commit, Hash: commit[:8], Remote: "https://git.example.com/images.git", Inputs: factory.DigestOf([]byte("inputs"))},
	}
	t.At = began
	all := factory.Package{Name: "tzdata", Version: "2026c-0+deb12u1", Arch: "all", Archive: "debian", Path: "pool/t/tzdata.deb", Size: 3, SHA256: factory.DigestOf([]byte("tzdata"))}
	t.Lock = factory.Lock{
		Schema: factory.LockSchema, Image: "debian-12", Definition: factory.DigestOf([]byte("definition")), Timestamp: began.Add(-time.Hour),
		Tools: map[string]factory.Digest{"toolbox": factory.DigestOf([]byte("toolbox"))},
		Roles: map[string]factory.Digest{"common": factory.DigestOf([]byte("common")), "cis_debian": factory.DigestOf([]byte("cis"))},
	}
	for _, p := range platforms {
		bash := factory.Package{Name: "bash", Version: "5.2.15-2", Arch: p.Architecture, Archive: "debian-security", Path: "pool/b/bash.deb", Size: 5, SHA256: factory.DigestOf([]byte("bash " + p.Architecture))}
		t.Lock.Platforms = append(t.Lock.Platforms, factory.LockedPlatform{Platform: p, Packages: []factory.Package{bash, all}})
	}
	t.Controls = []factory.ControlOutcome{{Control: "5.4.1.1", Title: "expire passwords", Platform: platforms[0], Outcome: factory.Applied}}
	t.Results = []factory.TestResult{{Name: "command: says hello", Platform: platforms[0], Passed: true, Seconds: 0.3}}
	t.Artifact = a
	t.Proven.Compliance = factory.Compliance{
		Benchmark: "xccdf_org.ssgproject.content_benchmark_DEBIAN-12", Content: "SCAP Security Guide 0.1.82", ContentDigest: factory.DigestOf([]byte("content")), Tool: "OpenSCAP 1.4.2",
		Method: []string{"device pattern widened"}, Canaries: []string{"file_permissions_unauthorized_world_writable"},
		Evaluations: []factory.Evaluation{{View: factory.ContainerView, Level: 2, Profile: "cis_level2_server", Platform: platforms[0], Seconds: 3, Rules: []factory.RuleOutcome{
			{Rule: "a_fails", Result: factory.RuleFail}, {Rule: "b_passes", Result: factory.RulePass}, {Rule: "c_passes", Result: factory.RulePass},
			{Rule: "d_waived", Result: factory.RuleFail}, {Rule: "e_unknown", Result: factory.RuleUnknown}, {Rule: "f_none", Result: factory.RuleNotApplicable},
		}}},
	}
	t.Job.Image.Waivers = []factory.Waiver{
		{ID: "d_waived", Reason: "no such users", By: "base", Until: factory.DateOf(began)},
		{ID: "a_fails", Reason: "expired", By: "base", Until: factory.DateOf(began.AddDate(0, 0, -1))},
	}
	t.Proven.Documents = []factory.Document{
		factory.NewDocument(factory.ARF, "linux/amd64 container level 2", platforms[0], "application/xml", []byte("<arf/>")),
		factory.NewDocument(factory.ComplianceHTML, "linux/amd64 container level 2", platforms[0], "text/html", []byte("<html/>")),
	}
	t.Scanned.Scan = factory.Scan{
		Scanner: "trivy 0.74.0", At: began, Packages: 4, NotLookedAt: []string{"abandoned"},
		Database: factory.Database{Kind: factory.ArchiveDatabase, Schema: 2, Updated: began.Add(-6 * time.Hour), Digest: factory.DigestOf([]byte("database")), Origin: "/srv/db on mirror.example.com"},
		Findings: []factory.Finding{{Vulnerability: "CVE-2026-1", Package: "bash", Version: "5.2.15-2", Severity: factory.High}, {Vulnerability: "CVE-2026-2", Package: "bash", Version: "5.2.15-2", Severity: factory.Unknown}},
	}
	for _, p := range platforms {
		t.Scanned.Documents = append(t.Scanned.Documents,
			factory.NewDocument(factory.CycloneDX, p.String(), p, "application/vnd.cyclonedx+json", cyclonedx("debian-12", "")),
			factory.NewDocument(factory.SPDX, p.String(), p, "application/spdx+json", []byte(`{"spdxVersion":"SPDX-2.3","name":"debian-12","packages":[]}`)))
	}
	t.Scanned.Documents = append(t.Scanned.Documents, factory.NewDocument(factory.OpenVEX, "debian-12", factory.Platform{}, "application/json", vex))
	return t
}

var vex = []byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://factory.example.com/vex/1","author":"base","timestamp":"2026-11-23T02:00:00Z","version":1,
	"statements":[{"vulnerability":{"name":"CVE-2026-9"},"products":[{"@id":"pkg:oci/debian-12"}],"status":"not_affected","justification":"vulnerable_code_not_present"}]}`)

func cyclonedx(name, purl string) []byte {
	return fmt.Appendf(nil, `{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"container","name":%q,"purl":%q}},
		"components":[{"type":"operating-system","name":"debian"},{"type":"library","name":"bash"},{"type":"library","name":"tzdata"}]}`, name, purl)
}

// decided is what the gate of e's environment says of it.
func decided(e factory.Examined) factory.Decision {
	return factory.Decision{Image: e.Job.Image.Name, Env: e.Job.Env, Digest: e.Artifact.Digest, At: e.At, Pass: true, Pack: "default", Policy: factory.DigestOf([]byte("policy")),
		Reasons: []factory.Reason{{Rule: "vulnerability", Subject: "CVE-2026-1 bash", Text: "has no fix"}}, Waived: []factory.Waived{{Subject: "d_waived"}}, Database: e.Scanned.Scan.Database}
}

// approved is e after the gate.
func approved(t *testing.T, e factory.Examined) factory.Approved {
	t.Helper()
	a, err := factory.Approve(e, decided(e))
	must(t, err)
	return a
}

func tagFor(e factory.Examined) factory.Tag {
	return factory.Tag{Date: factory.DateOf(e.At), Hash: e.Job.Source.Hash, Env: e.Job.Env}
}

// pairs are two key pairs for all tests, read once: making and opening one is slow by design.
var pairs = sync.OnceValues(func() (signers [2]*signer, err error) {
	dir, err := os.MkdirTemp("", "cosign-test")
	if err != nil {
		return signers, err
	}
	defer os.RemoveAll(dir)
	for i := range signers {
		pair, _, err := EnsureKeyPair(filepath.Join(dir, strconv.Itoa(i)), nil)
		if err != nil {
			return signers, err
		}
		sv, err := loadPrivate(pair.Private, nil)
		if err != nil {
			return signers, err
		}
		signers[i] = &signer{SignerVerifier: sv}
	}
	return signers, nil
})

// newSigner returns a signer and its public key's file.
func newSigner(t *testing.T) (*Signer, string) { return numbered(t, 0) }

// stranger is like newSigner, with another key.
func stranger(t *testing.T) (*Signer, string) { return numbered(t, 1) }

func numbered(t *testing.T, i int) (*Signer, string) {
	t.Helper()
	all, err := pairs()
	must(t, err)
	pub, err := all[i].PublicKey()
	must(t, err)
	text, err := publicPEM(pub)
	must(t, err)
	s := &Signer{Key: "loaded", loaded: all[i], Builder: builderID, Version: "1.0", Run: "run-1", Now: func() time.Time { return began.Add(time.Minute) }}
	return s, write(t, "cosign.pub", string(text))
}

// release publishes, signs, attaches and tags an image.
func release(t *testing.T, s *Signer, repository string, change func(*factory.Examined)) (factory.Artifact, []factory.Signature) {
	t.Helper()
	a := publish(t, repository, commit)
	run := examined(a)
	if change != nil {
		change(&run)
	}
	sigs, err := s.Sign(t.Context(), repository, approved(t, run))
	must(t, err)
	must(t, s.Attach(t.Context(), repository, sigs))
	retag(t, repository, tagFor(run).String(), a.Digest)
	return a, sigs
}

// failed returns the names of the checks that failed.
func failed(checks []Check) (names []string) {
	for _, c := range checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return names
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
