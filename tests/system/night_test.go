package system_test

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

var images = []string{"debian-12", "debian-13"}

// first is the night that makes the releases which most stories begin with.
var first struct {
	once   sync.Once
	ran    bool
	result result
}

// released returns the shared installation after its first night.
func released(t *testing.T) plant {
	t.Helper()
	needs(t)
	p, err := shared()
	must(t, err)
	first.once.Do(func() {
		if os.Getenv("FACTORY_TEST_RELEASED") == "" {
			first.result = p.run(t, "nightly", "--commit") // so that what is released may be promoted
		}
		first.ran = true
		t.Logf("the first night took %.0f s", first.result.Took.Seconds())
	})
	if !first.ran || first.result.Exit != 0 {
		t.Fatalf("the first night: exit %d\n%s\n%s", first.result.Exit, first.result.Stdout, first.result.said())
	}
	return p
}

// release returns the newest release of an image.
func (p plant) release(t testing.TB, image string) (r factory.Release) {
	t.Helper()
	p.json(t, &r, "show", image)
	return r
}

// serve has the embedded registry serve other clients until the story ends.
func (p plant) serve(t *testing.T) {
	t.Helper()
	server := p.start(t, "registry", "serve")
	server.await(t, "serving", func(e factory.Event) bool { return strings.HasPrefix(e.Message, "serving ") })
	t.Cleanup(func() {
		server.signal(t, syscall.SIGTERM)
		server.wait(t)
	})
}

// A new user on a fresh machine types one command and holds two signed references.
func TestFirstNight(t *testing.T) {
	p := released(t)
	r := first.result
	for _, image := range images {
		if strings.Count(r.Stdout, "  "+p.Addr+"/"+image+":") != 1 || !strings.Contains(r.Stdout, string(p.release(t, image).Digest)) {
			t.Errorf("stdout has no reference to %s:\n%s", image, r.Stdout)
		}
		for _, step := range []factory.StepName{"resolve", "build", "harden", "pack", "test", "prove", "scan", "gate", "sign", "publish", "record"} {
			if !r.saw(began(image, step)) {
				t.Errorf("no event of %s %s", image, step)
			}
		}
	}
	if !strings.HasPrefix(r.last(), "2 released (debian-12, debian-13)") || len(r.Lines) > 1 {
		t.Errorf("the verdict is not the last line:\n%s", r.said())
	}
	if !r.saw(func(e factory.Event) bool {
		return e.Kind == factory.Warned && strings.Contains(e.Message, "MADE A NEW SIGNING KEY")
	}) {
		t.Error("nothing was said about the new key")
	}
	info, err := os.Stat(filepath.Join(p.State, "keys", "cosign.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", info, err)
	}
	p.noDaemon(t)
	p.serve(t)
	key := filepath.Join(t.TempDir(), "cosign.pub")
	must(t, os.WriteFile(key, []byte(p.ok(t, "key").Stdout), 0o644))
	for _, image := range images {
		release := p.release(t, image)
		t.Run("verify "+image, func(t *testing.T) { verifyEverywhere(t, p, release, key) })
		t.Run("cosign "+image, func(t *testing.T) { publicCosign(t, p, release, key) })
	}
}

// verifyEverywhere verifies at home, and in an empty directory with nothing but the public key.
func verifyEverywhere(t *testing.T, p plant, release factory.Release, key string) {
	away := p.command(t, "verify", "--key", key, release.Tagged())
	away.Dir = t.TempDir()
	away.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + away.Dir, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	for where, r := range map[string]result{
		"tag": p.ok(t, "verify", release.Tagged()), "digest": p.ok(t, "verify", release.Ref()), "away": launch(t, away).wait(t),
	} {
		lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
		if r.Exit != 0 || len(lines) < 5 || slices.ContainsFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "ok  ") }) {
			t.Errorf("%s: exit %d\n%s%s", where, r.Exit, r.Stdout, r.said())
		}
	}
	if left, err := os.ReadDir(away.Dir); err != nil || len(left) != 0 {
		t.Errorf("verifying left %v in an empty directory, %v", left, err)
	}
	stranger := newKey(t)
	if r := p.run(t, "verify", "--key", stranger, release.Tagged()); r.Exit != 5 || !strings.Contains(r.Stdout, "FAIL") {
		t.Errorf("with another key: exit %d\n%s", r.Exit, r.Stdout)
	}
}

// newKey is the public half of a key that signed nothing.
func newKey(t *testing.T) string {
	t.Helper()
	other := plant{Dir: t.TempDir(), State: t.TempDir(), Addr: "127.0.0.1:1"}
	file := filepath.Join(other.Dir, "other.pub")
	must(t, os.WriteFile(file, []byte(other.ok(t, "key").Stdout), 0o644))
	return file
}

// cosign is the public command, built from its own module.
var cosign = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(scratch, "bin", "cosign")
	build := exec.Command("go", "build", "-C", filepath.Join(root(), "tests", "tools"), "-o", bin, "github.com/sigstore/cosign/v2/cmd/cosign")
	out, err := build.CombinedOutput()
	if err != nil {
		err = &exec.Error{Name: string(out), Err: err}
	}
	return bin, err
})

// publicCosign has cosign's own command verify what the factory signed, and reads the provenance that it prints.
func publicCosign(t *testing.T, p plant, release factory.Release, key string) {
	bin, err := cosign()
	must(t, err)
	cosign := func(args ...string) (string, error) {
		cmd := exec.Command(bin, append(args, "--key", key, "--insecure-ignore-tlog=true", release.Tagged())...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		out, err := cmd.Output()
		if exit, ok := err.(*exec.ExitError); ok {
			t.Logf("%s", exit.Stderr)
		}
		return string(out), err
	}
	if out, err := cosign("verify"); err != nil || !strings.Contains(out, string(release.Digest)) {
		t.Errorf("cosign verify: %v\n%s", err, out)
	}
	out, err := cosign("verify-attestation", "--type", "slsaprovenance1")
	must(t, err)
	var envelope struct{ Payload []byte }
	must(t, json.Unmarshal([]byte(out), &envelope))
	checkProvenance(t, p, release, envelope.Payload)
}

// provenance is as much of SLSA provenance v1 as is looked at.
type provenance struct {
	Subject []struct {
		Digest map[string]string
	}
	Predicate struct {
		BuildDefinition struct {
			ResolvedDependencies []struct {
				Name, URI string
				Digest    map[string]string
			}
		}
		RunDetails struct {
			Metadata struct{ InvocationID string }
		}
	}
}

// checkProvenance: everything that decided the image's bytes is named with its digest, and no machine is.
func checkProvenance(t *testing.T, p plant, release factory.Release, text []byte) {
	var prov provenance
	must(t, json.Unmarshal(text, &prov))
	have := map[string]string{}
	for _, d := range prov.Predicate.BuildDefinition.ResolvedDependencies {
		name := d.Name
		if d.URI != "" && strings.HasPrefix(d.URI, "pkg:") {
			name = d.URI
		}
		have[name] = d.Digest["sha256"]
	}
	want := map[string]factory.Digest{}
	for name, d := range release.Lock.Roles {
		want["role:"+name] = d
	}
	for name, d := range release.Lock.Tools {
		want["tool:"+name] = d
	}
	image := imageOf(t, p, release.Image)
	for _, lp := range release.Lock.Platforms {
		for _, pkg := range lp.Packages {
			want[pkg.Purl(image.Distro)] = pkg.SHA256
		}
	}
	if len(release.Lock.Roles) < 2 || want["tool:toolbox"] == "" || len(want) < 60 {
		t.Errorf("the lock is thin: %d entries", len(want))
	}
	for name, d := range want {
		if have[name] != d.Hex() {
			t.Errorf("provenance has %q for %s, the lock %s", have[name], name, d.Hex())
		}
	}
	if prov.Subject[0].Digest["sha256"] != release.Digest.Hex() || prov.Predicate.RunDetails.Metadata.InvocationID != release.Run {
		t.Errorf("subject %v, run %q", prov.Subject, prov.Predicate.RunDetails.Metadata.InvocationID)
	}
	for _, secret := range append(private(t, p), archives(t, p)...) {
		if strings.Contains(string(text), secret) {
			t.Errorf("provenance contains %q", secret)
		}
	}
}

// private is what must not get out of this machine: where things lie, what it is called, the signing key.
func private(t *testing.T, p plant) []string {
	t.Helper()
	all := []string{p.State, p.Dir, scratch}
	if name, err := os.Hostname(); err == nil && len(name) > 6 {
		all = append(all, name)
	}
	key, err := os.ReadFile(filepath.Join(p.State, "keys", "cosign.key"))
	must(t, err)
	return append(all, strings.Split(string(key), "\n")[1])
}

// archives are the hosts and paths that packages come from here.
func archives(t *testing.T, p plant) (all []string) {
	t.Helper()
	for _, a := range archiveURLs(t, p) {
		u, err := url.Parse(a)
		must(t, err)
		all = append(all, u.Host+u.Path)
	}
	return all
}

// archiveURLs are the archives of this host by id.
func archiveURLs(t testing.TB, p plant) map[string]string {
	t.Helper()
	var config struct {
		Archives map[string]struct{ Value string }
	}
	p.json(t, &config, "config")
	urls := map[string]string{}
	for id, a := range config.Archives {
		urls[id] = a.Value
	}
	if urls["debian"] == "" || urls["debian-security"] == "" {
		t.Fatalf("this host's apt has no Debian archives: %v", urls)
	}
	return urls
}
