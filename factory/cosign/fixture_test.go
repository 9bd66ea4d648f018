package cosign

import (
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

// tested is a result of the pipeline about a.
func tested(a factory.Artifact) factory.Tested {
	var t factory.Tested
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
	return t
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
func release(t *testing.T, s *Signer, repository string, change func(*factory.Tested)) (factory.Artifact, []factory.Signature) {
	t.Helper()
	a := publish(t, repository, commit)
	run := tested(a)
	if change != nil {
		change(&run)
	}
	sigs, err := s.Sign(t.Context(), repository, run)
	must(t, err)
	must(t, s.Attach(t.Context(), repository, sigs))
	tag := factory.Tag{Date: factory.DateOf(run.At), Hash: run.Job.Source.Hash, Env: run.Job.Env}
	retag(t, repository, tag.String(), a.Digest)
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
