package system_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// check is one line of factory verify.
type check struct {
	Name   string
	OK     bool
	Detail string
}

// verified runs verify, which must exit so, and returns its lines by name.
func (p plant) verified(t testing.TB, exit int, args ...string) map[string]check {
	t.Helper()
	var out struct{ Checks []check }
	decode(t, p.exits(t, exit, append([]string{"verify", "--json"}, args...)...), &out)
	checks := map[string]check{}
	for _, c := range out.Checks {
		checks[c.Name] = c
	}
	return checks
}

// refused demands that verify fails by these lines and no other, and returns their texts.
func (p plant) refused(t testing.TB, names []string, args ...string) string {
	t.Helper()
	var failed []string
	text := ""
	for name, c := range p.verified(t, 5, args...) {
		if !c.OK {
			failed, text = append(failed, name), text+name+": "+c.Detail+"\n"
		}
	}
	slices.Sort(failed)
	slices.Sort(names)
	if !slices.Equal(failed, names) {
		t.Errorf("verify %v fails by %q, not %q:\n%s", args, failed, names, text)
	}
	return text
}

// publicKey is the file that a publisher gives to consumers.
func (p plant) publicKey(t testing.TB) string {
	t.Helper()
	key := filepath.Join(t.TempDir(), "cosign.pub")
	must(t, os.WriteFile(key, []byte(p.ok(t, "key").Stdout), 0o644))
	return key
}

// elsewhere runs the driver on a machine that has nothing of this factory, and in an empty directory.
func (p plant) elsewhere(t testing.TB, args ...string) result {
	t.Helper()
	cmd := p.command(t, args...)
	cmd.Args = cmd.Args[:len(args)+1] // without flags
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	r := launch(t, cmd).wait(t)
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) != 0 {
		t.Errorf("factory %v left %v in an empty directory, %v", args, left, err)
	}
	return r
}

// attested has cosign's own command verify the attestations of one kind, and returns the statements.
func attested(t testing.TB, ref, key, kind string) (statements []string) {
	t.Helper()
	bin, err := cosign()
	must(t, err)
	cmd := exec.Command(bin, "verify-attestation", "--type", kind, "--key", key, "--insecure-ignore-tlog=true", ref)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cosign verify-attestation --type %s %s: %v\n%s", kind, ref, err, stderr.String())
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var envelope struct{ Payload []byte }
		must(t, dec.Decode(&envelope))
		statements = append(statements, string(envelope.Payload))
	}
	return statements
}

// Every claim about a night's images can be checked by somebody else: what was proven, what is in them, what is known of it, and by
// which data.
func TestEvidence(t *testing.T) {
	p := released(t)
	p.serve(t)
	key := p.publicKey(t)
	for _, image := range images {
		release := p.release(t, image)
		t.Run(image, func(t *testing.T) {
			var proven factory.Compliance
			p.json(t, &proven, "compliance", image)
			meetsTheBar(t, image, proven)
			if len(proven.Method) == 0 || len(proven.Canaries) == 0 || len(proven.Evaluations) != 3 {
				t.Errorf("proven by %q with canaries %q: %d evaluations", proven.Method, proven.Canaries, len(proven.Evaluations))
			}
			checkReports(t, p, image)
			checkSBOMs(t, p, release)
			checkDocuments(t, p, release)
			checkChecks(t, p.verified(t, 0, "--env", "dev", release.Tagged()))
			checkAttested(t, release, key)
		})
	}
}

func checkReports(t *testing.T, p plant, image string) {
	t.Helper()
	dir := t.TempDir()
	p.ok(t, "compliance", image, "--html", filepath.Join(dir, "report.html"))
	for _, name := range []string{"report.html", "report-2.html", "report-3.html"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(b, []byte("OpenSCAP")) {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
}

// checkSBOMs: both list exactly the packages of the lock.
func checkSBOMs(t *testing.T, p plant, release factory.Release) {
	t.Helper()
	var want []string
	for _, pkg := range release.Lock.Platforms[0].Packages {
		want = append(want, pkg.Name+" "+pkg.Version)
	}
	slices.Sort(want)
	var cyclonedx struct {
		Components []struct{ Type, Name, Version string }
	}
	var spdx struct {
		Packages []struct {
			Name    string
			Version string `json:"versionInfo"`
			Purpose string `json:"primaryPackagePurpose"`
		}
	}
	for format, into := range map[string]any{"cyclonedx": &cyclonedx, "spdx": &spdx} {
		r := p.ok(t, "sbom", release.Image, "--format", format)
		decode(t, r, into)
	}
	var have [2][]string
	for _, c := range cyclonedx.Components {
		if c.Type == "library" {
			have[0] = append(have[0], c.Name+" "+c.Version)
		}
	}
	for _, c := range spdx.Packages {
		if c.Purpose == "LIBRARY" {
			have[1] = append(have[1], c.Name+" "+c.Version)
		}
	}
	for i, format := range []string{"CycloneDX", "SPDX"} {
		slices.Sort(have[i])
		if !slices.Equal(have[i], want) {
			t.Errorf("%s has %d packages, the lock %d:\n%s\n%s", format, len(have[i]), len(want), have[i], want)
		}
	}
}

// checkDocuments: what was measured is kept with the release.
func checkDocuments(t *testing.T, p plant, release factory.Release) {
	t.Helper()
	have := map[factory.DocumentKind]int{}
	for _, d := range release.Documents {
		have[d.Kind]++
	}
	want := map[factory.DocumentKind]int{factory.CycloneDX: 1, factory.SPDX: 1, factory.ARF: 3, factory.ComplianceHTML: 3, factory.OpenVEX: 1}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("documents %v, want %v", have, want)
	}
	scan := release.Scan
	if scan.Database.Kind != factory.ArchiveDatabase || scan.Packages != len(release.Lock.Platforms[0].Packages) || !strings.HasPrefix(scan.Scanner, "trivy ") || !release.Decision.Pass {
		t.Errorf("%s with %s: %d packages; decision %+v", scan.Scanner, scan.Database, scan.Packages, release.Decision)
	}
}

// checkChecks: verify looks at everything.
func checkChecks(t *testing.T, checks map[string]check) {
	t.Helper()
	for name, says := range map[string]string{
		"tag": "sha256:", "digest": "sha256:", "signature of the index": "", "signature of linux/amd64": "", "provenance": "dependencies", "builder": "https://",
		"source": "commit ", "SBOM of linux/amd64": " packages) and SPDX of sha256:", "vulnerability report": "archive advisories of ", "compliance": "container level 2", "VEX": "",
		"decision": "-dev was let in", "revocation": "has not revoked it",
	} {
		if c, there := checks[name]; !there || !strings.Contains(c.Detail, says) {
			t.Errorf("%s: %q lacks %q", name, c.Detail, says)
		}
	}
}

// checkAttested reads with the public command what is attested.
func checkAttested(t *testing.T, release factory.Release, key string) {
	t.Helper()
	const own = "https://github.com/imagefactory/imagefactory/attestations/compliance/v1"
	for kind, says := range map[string][]string{
		"cyclonedx": {`"bomFormat":"CycloneDX"`, "pkg:deb/debian/"}, "spdxjson": {`"spdxVersion":"SPDX-2.3"`, "pkg:deb/debian/"},
		"vuln": {`"kind":"archive"`, `"lastUpdate":"20`}, "openvex": {`"https://openvex.dev/ns/v0.2.0"`},
		own: {`"extended"`, "canar"}, "https://slsa.dev/verification_summary/v1": {`"verificationResult":"PASSED"`, release.Tag.String()},
	} {
		all := strings.Join(attested(t, release.Tagged(), key, kind), "\n")
		for _, text := range append(says, release.Digest.Hex()) {
			if !strings.Contains(all, text) && !strings.Contains(all, strings.ReplaceAll(text, `":"`, `": "`)) {
				t.Errorf("%s lacks %s:\n%.1500s", kind, text, all)
			}
		}
	}
}
