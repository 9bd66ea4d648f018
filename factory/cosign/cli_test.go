package cosign

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// The public cosign command, built from its own module, accepts what is made here and refuses what is not.
func TestPublicCosign(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the cosign command")
	}
	bin := filepath.Join(t.TempDir(), "cosign")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "github.com/sigstore/cosign/v2/cmd/cosign")
	build.Dir = filepath.Join("..", "..", "tests", "tools")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	home := t.TempDir()
	world := newSigstore(t)
	// verify-attestation takes no trusted root file: it reads the log's key from the environment.
	logKey, err := publicPEM(world.logKey.Public())
	must(t, err)
	logFile := write(t, "rekor.pub", string(logKey))
	cosign := func(args ...string) (stdout, stderr string, err error) {
		var o, e bytes.Buffer
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "SIGSTORE_REKOR_PUBLIC_KEY=" + logFile}
		cmd.Stdout, cmd.Stderr = &o, &e
		err = cmd.Run()
		return o.String(), e.String(), err
	}
	for kind, referrers := range map[string]bool{"with referrers": true, "without referrers": false} {
		t.Run(kind, func(t *testing.T) {
			repository := serve(t, referrers) + "/base/debian-12"
			s, pub := newSigner(t)
			a, _ := release(t, s, repository, nil)
			_, otherPub := stranger(t)
			refs := []string{repository + ":20261123-1a2b3c4d-prod", repository + "@" + string(a.Digest)}
			for _, p := range a.Platforms {
				refs = append(refs, repository+"@"+string(p.Digest))
			}
			for _, ref := range refs {
				if out, msg, err := cosign("verify", "--key", pub, "--insecure-ignore-tlog=true", ref); err != nil {
					t.Errorf("verify %s: %v\n%s%s", ref, err, out, msg)
				}
				if out, _, err := cosign("verify", "--key", otherPub, "--insecure-ignore-tlog=true", ref); err == nil {
					t.Errorf("verify %s with another key: accepted\n%s", ref, out)
				}
			}
			out, msg, err := cosign("verify-attestation", "--type", "slsaprovenance1", "--key", pub, "--insecure-ignore-tlog=true", refs[0])
			if err != nil {
				t.Fatalf("verify-attestation: %v\n%s", err, msg)
			}
			checkPrinted(t, out, a.Digest)
			for _, predicateType := range []string{"cyclonedx", "spdxjson", "spdx", "vuln", "openvex", ComplianceType, DecisionType, CycloneDXType} {
				if out, msg, err := cosign("verify-attestation", "--type", predicateType, "--key", pub, "--insecure-ignore-tlog=true", refs[0]); err != nil || !strings.Contains(out, `"payload"`) {
					t.Errorf("verify-attestation --type %s: %v\n%s%s", predicateType, err, out, msg)
				}
			}
			if _, _, err := cosign("verify-attestation", "--type", RevocationType, "--key", pub, "--insecure-ignore-tlog=true", refs[0]); err == nil {
				t.Error("a revocation that nobody made was found")
			}
			revoked := must2(s.Revoke(t.Context(), repository, a.Digest, "ships a private key", "ann@desk", began))(t)
			must(t, s.Attach(t.Context(), repository, revoked))
			if _, msg, err := cosign("verify-attestation", "--type", RevocationType, "--key", pub, "--insecure-ignore-tlog=true", refs[0]); err != nil {
				t.Errorf("revocation: %v\n%s", err, msg)
			}
			if _, _, err := cosign("verify-attestation", "--type", "slsaprovenance1", "--key", otherPub, "--insecure-ignore-tlog=true", refs[0]); err == nil {
				t.Error("verify-attestation with another key: accepted")
			}
			unsigned := publish(t, repository, commit)
			if _, _, err := cosign("verify", "--key", pub, "--insecure-ignore-tlog=true", repository+"@"+string(unsigned.Digest)); err == nil {
				t.Error("an unsigned image was accepted")
			}
			checkKeyless(t, world, repository+"-keyless", cosign)
		})
	}
}

func checkKeyless(t *testing.T, world *sigstore, repository string, cosign func(...string) (string, string, error)) {
	t.Helper()
	a, _ := release(t, world.signer(), repository, nil)
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: world.ca.Raw})))
	who := []string{"--insecure-ignore-sct", "--certificate-identity", identity, "--certificate-oidc-issuer", issuer, repository + "@" + string(a.Digest)}
	for _, how := range [][]string{{"verify", "--trusted-root", world.root}, {"verify", "--ca-roots", ca}, {"verify-attestation", "--type", "slsaprovenance1", "--ca-roots", ca}, {"verify-attestation", "--type", "cyclonedx", "--ca-roots", ca}} {
		if _, msg, err := cosign(append(how, who...)...); err != nil {
			t.Errorf("keyless %v: %v\n%s", how, err, msg)
		}
	}
}

// checkPrinted reads the statement that cosign prints after it has verified it.
func checkPrinted(t *testing.T, out string, d factory.Digest) {
	t.Helper()
	var envelope struct {
		Payload string `json:"payload"`
	}
	must(t, json.Unmarshal([]byte(out), &envelope))
	text, err := base64.StdEncoding.DecodeString(envelope.Payload)
	must(t, err)
	var st statement[provenance]
	must(t, json.Unmarshal(text, &st))
	if st.PredicateType != ProvenanceType || st.Subject[0].Digest["sha256"] != d.Hex() || !strings.Contains(string(text), "pkg:deb/debian/bash@") {
		t.Errorf("cosign printed %s", text)
	}
}
