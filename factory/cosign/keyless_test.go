package cosign

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestKeyless(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	world := newSigstore(t)
	s := world.signer()
	a, sigs := release(t, s, repository, nil)
	ref := repository + ":20261123-1a2b3c4d-prod"
	checks, err := Verify(t.Context(), ref, world.options())
	if err != nil {
		t.Fatalf("%v\n%+v", err, checks)
	}
	if !strings.Contains(checks[3].Detail, identity) {
		t.Errorf("the identity is not named: %+v", checks[3])
	}
	if n := world.entries.Load(); n != int64(len(sigs)) || n != 3+9 {
		t.Errorf("%d entries in the log", n)
	}

	// Signing again makes a new key and certificate, and still does not pile up.
	again, err := s.Sign(t.Context(), repository, approved(t, examined(a)))
	must(t, err)
	must(t, s.Attach(t.Context(), repository, again))
	if n, m := count(t, repository, a.Digest, signatures), count(t, repository, a.Digest, attestations); n != 1 || m != 9 {
		t.Errorf("%d signatures, %d attestations", n, m)
	}
	if _, err := Verify(t.Context(), ref, world.options()); err != nil {
		t.Error(err)
	}

	// Whom else one could trust.
	other := newSigstore(t)
	for what, change := range map[string]func(*VerifyOptions){
		"another identity":  func(o *VerifyOptions) { o.Identity = "mallory@example.com" },
		"another issuer":    func(o *VerifyOptions) { o.Issuer = "https://mallory.example.com" },
		"another authority": func(o *VerifyOptions) { o.TrustedRoot = other.root },
	} {
		o := world.options()
		change(&o)
		checks, err := Verify(t.Context(), ref, o)
		want := slices.Concat([]string{"signature of the index", "signature of linux/amd64", "signature of linux/arm64"}, everyStatement)
		if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), want) {
			t.Errorf("%s: %v, failed %q", what, err, failed(checks))
		}
	}
}

// A bundle is anybody's data: nothing in it may stop the verifier.
func TestKeylessGarbage(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	world := newSigstore(t)
	a, _ := release(t, world.signer(), repository, nil)
	payloads := [][]byte{nil, []byte("{}"), []byte("null"), []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{}]}`)}
	hang(t, repository, a.Digest, signatures, payloads)
	hang(t, repository, a.Digest, attestations, payloads)
	checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), world.options())
	if !errors.Is(err, factory.ErrUnverified) || !slices.Equal(failed(checks), slices.Concat([]string{"signature of the index"}, everyStatement)) {
		t.Errorf("%v\n%+v", err, checks)
	}
}

func TestKeyWithLog(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	world := newSigstore(t)
	s, pub := newSigner(t)
	logged := &Signer{Key: s.Key, loaded: &signer{SignerVerifier: s.loaded.SignerVerifier, log: world.rekor.URL}, Builder: builderID}
	o := VerifyOptions{Key: pub, RequireLog: true, TrustedRoot: world.root}

	a, _ := release(t, s, repository, nil)
	if checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), o); !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("signed, but in no log: %v\n%+v", err, checks)
	}
	b, _ := release(t, logged, repository, nil)
	if checks, err := Verify(t.Context(), repository+"@"+string(b.Digest), o); err != nil {
		t.Errorf("signed and logged: %v\n%+v", err, checks)
	}

	world.down = true
	if _, err := logged.Sign(t.Context(), repository, approved(t, examined(a))); !errors.Is(err, factory.ErrUnavailable) {
		t.Errorf("a log that is down: %v", err)
	}
	world.down, world.mute = false, true
	if _, err := logged.Sign(t.Context(), repository, approved(t, examined(a))); !errors.Is(err, factory.ErrUnverified) {
		t.Errorf("a log without a promise: %v", err)
	}
}

func TestKeylessFaults(t *testing.T) {
	t.Parallel()
	world := newSigstore(t)
	run := approved(t, examined(factory.Artifact{Digest: factory.DigestOf(nil)}))
	gone := errors.New("not in CI")
	for what, tc := range map[string]struct {
		token func(context.Context) (string, error)
		url   string
		kind  error
	}{
		"no token":         {func(context.Context) (string, error) { return "", gone }, world.fulcio.URL, factory.ErrUnavailable},
		"not a token":      {func(context.Context) (string, error) { return "hunter2", nil }, world.fulcio.URL, factory.ErrInvalid},
		"no base64":        {func(context.Context) (string, error) { return "a.*.c", nil }, world.fulcio.URL, factory.ErrInvalid},
		"no claims":        {func(context.Context) (string, error) { return "a.e30.c", nil }, world.fulcio.URL, factory.ErrInvalid},
		"refused identity": {func(context.Context) (string, error) { return token("eve@example.com"), nil }, world.fulcio.URL, factory.ErrUnavailable},
		"bad URL":          {func(context.Context) (string, error) { return token(identity), nil }, "http://[", factory.ErrInvalid},
	} {
		s := &Signer{Keyless: &Keyless{FulcioURL: tc.url, IDToken: tc.token}, Log: world.rekor.URL}
		_, err := s.Sign(t.Context(), "r.example.com/x", run)
		if !errors.Is(err, tc.kind) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, url := range []string{"http://[", "::"} {
		s := world.signer()
		s.Log = url
		if _, err := s.Sign(t.Context(), "r.example.com/x", run); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("log %q: %v", url, err)
		}
	}
	if (&Keyless{}).fulcio() != "https://fulcio.sigstore.dev" {
		t.Error("the default authority is not Sigstore's public one")
	}
}

// Key and keyless signers share an image: neither takes the other's statements, nor junk, for its own.
func TestKeyAndKeylessTogether(t *testing.T) {
	t.Parallel()
	repository := serve(t, true) + "/base/debian-12"
	world := newSigstore(t)
	s, pub := newSigner(t)
	a := publish(t, repository, commit)
	hang(t, repository, a.Digest, signatures, [][]byte{[]byte("{}")})
	hang(t, repository, a.Digest, attestations, [][]byte{[]byte("{}")})
	for _, by := range []*Signer{s, world.signer(), s, world.signer()} {
		sigs, err := by.Sign(t.Context(), repository, approved(t, examined(a)))
		must(t, err)
		must(t, by.Attach(t.Context(), repository, sigs))
	}
	if n, m := count(t, repository, a.Digest, signatures), count(t, repository, a.Digest, attestations); n != 3 || m != 1+9+9 {
		t.Errorf("%d signatures, %d attestations, want those of junk, key and identity, once each", n, m)
	}
	for _, o := range []VerifyOptions{{Key: pub}, world.options()} {
		if checks, err := Verify(t.Context(), repository+"@"+string(a.Digest), o); err != nil {
			t.Errorf("%v\n%+v", err, checks)
		}
	}
}
