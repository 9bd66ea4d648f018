package cosign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagefactory/imagefactory/factory"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestProvenanceGolden(t *testing.T) {
	t.Parallel()
	a := factory.Artifact{Digest: factory.DigestOf([]byte("index")), Platforms: []factory.PlatformImage{
		{Platform: factory.Platform{OS: "linux", Architecture: "arm64"}, Digest: factory.DigestOf([]byte("arm64"))},
		{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Digest: factory.DigestOf([]byte("amd64"))},
	}}
	s := &Signer{Builder: builderID, Version: "1.0", Run: "run-1", Now: func() time.Time { return began.Add(time.Minute) }}
	about := subjects("registry.example.com/base/debian-12", a.Digest, platforms(a)...)
	draft, err := s.provenanceOf(about, approved(t, examined(a)))
	must(t, err)
	again, err := s.provenanceOf(about, approved(t, examined(a)))
	must(t, err)
	got := draft.text
	if !bytes.Equal(got, again.text) {
		t.Error("the same build makes another text")
	}
	var indented bytes.Buffer
	must(t, json.Indent(&indented, got, "", "  "))
	indented.WriteByte('\n')
	if *update {
		must(t, os.WriteFile("testdata/provenance.json", indented.Bytes(), 0o644))
	}
	want, err := os.ReadFile("testdata/provenance.json")
	must(t, err)
	if !bytes.Equal(indented.Bytes(), want) {
		t.Errorf("testdata/provenance.json is stale (go test -update):\n%s", indented.Bytes())
	}
	if strings.Contains(string(got), "pool/") || strings.Contains(string(got), "http://") {
		t.Error("the provenance names a path or host of an archive")
	}
}

// count returns how many signatures hang on d.
func count(t *testing.T, repository string, d factory.Digest, kind string) int {
	t.Helper()
	repo, err := name.NewRepository(repository)
	must(t, err)
	all, err := Remote{}.attached(t.Context(), repo, d, kind)
	must(t, err)
	return len(all)
}

func TestSigningAgainDoesNotPileUp(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	first, pub := newSigner(t)
	other, otherPub := stranger(t)
	a, _ := release(t, first, repository, nil)

	// Somebody else signs the same image: kept.
	sigs, err := other.Sign(t.Context(), repository, approved(t, examined(a)))
	must(t, err)
	must(t, other.Attach(t.Context(), repository, sigs))

	// A week of refreshes by the first, each tried three times.
	var tags []string
	for day := range 7 {
		for try := range 3 {
			run := examined(a)
			run.At = began.AddDate(0, 0, day).Add(time.Duration(try) * time.Hour)
			first.Now = func() time.Time { return run.At.Add(time.Minute) }
			sigs, err := first.Sign(t.Context(), repository, approved(t, run))
			must(t, err)
			must(t, first.Attach(t.Context(), repository, sigs))
		}
		tags = append(tags, factory.Tag{Date: factory.DateOf(began.AddDate(0, 0, day)), Hash: commit[:8], Env: factory.Prod}.String())
		retag(t, repository, tags[day], a.Digest)
	}
	for _, d := range []factory.Digest{a.Digest, a.Platforms[0].Digest, a.Platforms[1].Digest} {
		if n := count(t, repository, d, signatures); n != 2 {
			t.Errorf("%d signatures on %s", n, d)
		}
	}
	if n := count(t, repository, a.Digest, attestations); n != 7*2+7+9 { // provenance and decision of each tag, one of everything else, and the other's
		t.Errorf("%d attestations", n)
	}
	for _, tag := range tags {
		checks, err := Verify(t.Context(), repository+":"+tag, VerifyOptions{Key: pub})
		if err != nil || !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == "provenance tag" && strings.Contains(c.Detail, tag) }) {
			t.Errorf("%s: %v\n%+v", tag, err, checks)
		}
	}
	if checks, err := Verify(t.Context(), repository+":"+tags[0], VerifyOptions{Key: otherPub}); err != nil {
		t.Errorf("the other's: %v\n%+v", err, checks)
	}
	if checks, err := Verify(t.Context(), repository+":"+tags[1], VerifyOptions{Key: otherPub}); !slices.Equal(failed(checks), []string{"provenance tag", "decision"}) {
		t.Errorf("a tag that the other never spoke of: %v\n%+v", err, checks)
	}
	checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub})
	must(t, err)
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == "provenance" })
	if !strings.Contains(checks[i].Detail, "2026-11-29 04:00") {
		t.Errorf("not the newest provenance: %s", checks[i].Detail)
	}
}

func TestSignFaults(t *testing.T) {
	t.Parallel()
	run := approved(t, examined(factory.Artifact{Digest: factory.DigestOf(nil)}))
	for what, tc := range map[string]struct {
		s    *Signer
		repo string
		kind error
	}{
		"no key":                {&Signer{}, "r.example.com/x", factory.ErrInvalid},
		"keyless without token": {&Signer{Keyless: &Keyless{}}, "r.example.com/x", factory.ErrInvalid},
		"no such key":           {&Signer{Key: "/nonexistent"}, "r.example.com/x", factory.ErrNotFound},
		"no registry":           {&Signer{Key: "/nonexistent"}, "debian-12", factory.ErrInvalid},
		"bad repository":        {&Signer{Key: "/nonexistent"}, "r.example.com/A B", factory.ErrInvalid},
	} {
		if _, err := tc.s.Sign(t.Context(), tc.repo, run); !errors.Is(err, tc.kind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s, _ := newSigner(t)
	sig := []factory.Signature{{Subject: factory.DigestOf(nil), Payload: []byte("x"), Bundle: []byte("junk")}}
	if err := s.Attach(t.Context(), serve(t, false)+"/x", sig); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a bundle that is none: %v", err)
	}
	if err := s.Attach(t.Context(), "x", sig); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("attach without a registry: %v", err)
	}
	if err := (&Signer{Key: "/nonexistent"}).Attach(t.Context(), "r.example.com/x", sig); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("attach without a key: %v", err)
	}
}

// wire answers every request.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func answer(r *http.Request, code int) (*http.Response, error) {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func TestRegistryFaults(t *testing.T) {
	t.Parallel()
	host := serve(t, false)
	s, pub := newSigner(t)
	a, sigs := release(t, s, host+"/base/x", nil)
	for what, tc := range map[string]struct {
		code int
		kind error
	}{
		"down": {500, factory.ErrUnavailable}, "no credentials": {401, factory.ErrInvalid}, "no right": {403, factory.ErrInvalid},
	} {
		var tries atomic.Int64
		remote := Remote{
			Transport: wire(func(r *http.Request) (*http.Response, error) { return answer(r, tc.code) }),
			Keychain:  authn.NewMultiKeychain(),
			Retry: func(ctx context.Context, at, work string, f func(context.Context) error) error {
				var err error
				for range 3 {
					tries.Add(1)
					if err = f(ctx); err == nil {
						break
					}
				}
				if at != host || work == "" {
					t.Errorf("%s: host %q, work %q", what, at, work)
				}
				return err
			},
		}
		_, err := Verify(t.Context(), host+"/base/x@"+string(a.Digest), VerifyOptions{Key: pub, Remote: remote})
		if !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), host) || tries.Load() != 3 {
			t.Errorf("verify, %s: %v after %d tries", what, err, tries.Load())
		}
		down := &Signer{Key: s.Key, loaded: s.loaded, Remote: remote}
		if err := down.Attach(t.Context(), host+"/base/x", sigs); !errors.Is(err, tc.kind) {
			t.Errorf("attach, %s: %v", what, err)
		}
	}
	// A registry that takes a signature and serves another thing is noticed.
	lying := &Signer{Key: s.Key, loaded: s.loaded, Remote: Remote{Transport: wire(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			return answer(r, 201)
		}
		return http.DefaultTransport.RoundTrip(r)
	})}}
	later := examined(a)
	later.At = began.AddDate(0, 0, 1)
	more, err := lying.Sign(t.Context(), host+"/base/x", approved(t, later))
	must(t, err)
	if err := lying.Attach(t.Context(), host+"/base/x", more); !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("a swallowed attestation: %v", err)
	}
}

// A release of the same bytes from another commit, or for another environment, leaves the earlier one's tag good.
func TestReleasesOfOneDigest(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	a := publish(t, repository, "")
	for i, env := range []factory.Env{factory.Dev, factory.Prod} {
		run := examined(a)
		run.Job.Env = env
		run.Job.Source.Commit = strings.Repeat(string("12"[i]), 40)
		run.Job.Source.Hash = run.Job.Source.Commit[:8]
		sigs, err := s.Sign(t.Context(), repository, approved(t, run))
		must(t, err)
		must(t, s.Attach(t.Context(), repository, sigs))
	}
	for tag, wrong := range map[string][]string{
		"20261123-11111111-dev": nil, "20261123-22222222-prod": nil,
		"20261123-11111111-prod": {"provenance tag", "decision"}, "20261123-22222222-dev": {"provenance tag", "decision"},
	} {
		retag(t, repository, tag, a.Digest)
		if checks, err := Verify(t.Context(), repository+":"+tag, VerifyOptions{Key: pub}); !slices.Equal(failed(checks), wrong) {
			t.Errorf("%s: %v\n%+v", tag, err, checks)
		}
	}
}

// Registries whose tags are immutable say so each in their own way.
func TestImmutableTags(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, _ := newSigner(t)
	a, _ := release(t, s, repository, nil)
	later := examined(a)
	later.At = began.AddDate(0, 0, 1)
	sigs, err := s.Sign(t.Context(), repository, approved(t, later))
	must(t, err)
	for what, tc := range map[string]struct {
		code int
		says string
		kind error
	}{
		"harbor":        {412, `{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to 'x:y' configured as immutable."}]}`, factory.ErrBlocked},
		"ecr":           {400, `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'y' already exists in the 'x' repository and cannot be overwritten because the tag is immutable."}]}`, factory.ErrBlocked},
		"text":          {403, "The requested tag already exists and cannot be overwritten.", factory.ErrBlocked},
		"status alone":  {409, "", factory.ErrBlocked},
		"another cause": {403, `{"errors":[{"code":"DENIED","message":"no"}]}`, factory.ErrInvalid},
		"down":          {503, "immutable", factory.ErrUnavailable},
	} {
		strict := &Signer{Key: s.Key, loaded: s.loaded, Remote: Remote{Transport: wire(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
				return http.DefaultTransport.RoundTrip(r)
			}
			resp, err := answer(r, tc.code)
			resp.Body = io.NopCloser(strings.NewReader(tc.says))
			return resp, err
		}), Retry: func(ctx context.Context, _, _ string, f func(context.Context) error) error { return f(ctx) }}}
		err := strict.Attach(t.Context(), repository, sigs)
		if !errors.Is(err, tc.kind) || strings.Contains(err.Error(), "exempt sha256-*.sig and sha256-*.att") != (tc.kind == factory.ErrBlocked) {
			t.Errorf("%s: %v", what, err)
		}
		// What was never attached is refused for another reason.
		fresh := []factory.Signature{{Subject: factory.DigestOf([]byte(what)), Payload: []byte("x")}}
		if err := strict.Attach(t.Context(), repository, fresh); err == nil || errors.Is(err, factory.ErrBlocked) {
			t.Errorf("%s, attached first: %v", what, err)
		}
	}
}

func TestProblemsAreReadable(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	s, pub := newSigner(t)
	s.Run = ""
	a, _ := release(t, s, repository, nil)
	checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), VerifyOptions{Key: pub})
	must(t, err)
	if got := checks[4].Detail; got != "the key attests a run that began 2026-11-23 02:00, with 9 dependencies" {
		t.Errorf("detail %q", got)
	}
}
