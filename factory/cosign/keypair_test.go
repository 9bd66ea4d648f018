package cosign

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestEnsureKeyPair(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "keys")
	pair, created, err := EnsureKeyPair(dir, nil)
	if err != nil || !created {
		t.Fatalf("first: %v, %v", created, err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, pair.Private: 0o600, pair.Public: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	before, err := os.ReadFile(pair.Private)
	must(t, err)
	pub, err := os.ReadFile(pair.Public)
	must(t, err)

	// A second call, and a lost public key, change nothing.
	must(t, os.Remove(pair.Public))
	if _, created, err := EnsureKeyPair(dir, nil); err != nil || created {
		t.Errorf("second: %v, %v", created, err)
	}
	after, err := os.ReadFile(pair.Private)
	must(t, err)
	pub2, err := os.ReadFile(pair.Public)
	must(t, err)
	if string(before) != string(after) || string(pub) != string(pub2) {
		t.Error("the key pair changed")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if !strings.Contains(string(before), "ENCRYPTED SIGSTORE PRIVATE KEY") {
		t.Error("the private key is not in cosign's form")
	}
}

func TestKeyPairModes(t *testing.T) {
	t.Parallel()
	for what, path := range map[string]func(KeyPair) string{
		"folder": func(p KeyPair) string { return filepath.Dir(p.Private) }, "key": func(p KeyPair) string { return p.Private },
	} {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o700))
		pair, _, err := EnsureKeyPair(dir, nil)
		must(t, err)
		must(t, os.Chmod(path(pair), 0o755))
		_, _, err = EnsureKeyPair(dir, nil)
		var p *factory.Problem
		if !errors.As(err, &p) || !errors.Is(err, factory.ErrInvalid) || !strings.HasPrefix(p.Hint, "chmod ") || !strings.HasSuffix(p.Hint, path(pair)) {
			t.Errorf("%s that others can read: %v", what, err)
		}
		if what == "key" {
			if _, err := loadSigner(t.Context(), pair.Private, nil); !errors.Is(err, factory.ErrInvalid) {
				t.Errorf("signing with it: %v", err)
			}
		}
	}
}

func TestKeyPairFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "cosign.pub"), []byte("somebody's"), 0o644))
	if _, _, err := EnsureKeyPair(dir, nil); !errors.Is(err, factory.ErrConflict) {
		t.Errorf("a public key whose private key is gone: %v", err)
	}
	refused := errors.New("no terminal")
	if _, _, err := EnsureKeyPair(filepath.Join(t.TempDir(), "k"), func() ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("no password: %v", err)
	}
	if _, _, err := EnsureKeyPair(filepath.Join(write(t, "file", ""), "k"), nil); err == nil {
		t.Error("a folder below a file")
	}
}

func TestKeyPairRace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	var wg sync.WaitGroup
	made := make([]bool, 3)
	for i := range made {
		wg.Go(func() {
			_, created, err := EnsureKeyPair(dir, nil)
			if err != nil {
				t.Error(err)
			}
			made[i] = created
		})
	}
	wg.Wait()
	n := 0
	for _, m := range made {
		if m {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d key pairs were made", n)
	}
	// The two files belong together.
	sv, err := loadPrivate(filepath.Join(dir, "cosign.key"), nil)
	must(t, err)
	pub, err := sv.PublicKey()
	must(t, err)
	text, err := publicPEM(pub)
	must(t, err)
	if onDisk, err := os.ReadFile(filepath.Join(dir, "cosign.pub")); err != nil || string(onDisk) != string(text) {
		t.Errorf("the public key is another pair's: %v", err)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	right := func() ([]byte, error) { return []byte("correct horse"), nil }
	pair, _, err := EnsureKeyPair(filepath.Join(t.TempDir(), "keys"), right)
	must(t, err)
	if _, err := loadPrivate(pair.Private, right); err != nil {
		t.Error(err)
	}
	wrong := func() ([]byte, error) { return []byte("battery staple"), nil }
	for name, password := range map[string]func() ([]byte, error){"wrong": wrong, "none": nil} {
		if _, err := loadPrivate(pair.Private, password); !errors.Is(err, factory.ErrInvalid) || strings.Contains(err.Error(), "battery") {
			t.Errorf("%s: %v", name, err)
		}
	}
	failing := errors.New("vault is sealed")
	if _, err := loadPrivate(pair.Private, func() ([]byte, error) { return nil, failing }); !errors.Is(err, failing) {
		t.Errorf("a password that cannot be had: %v", err)
	}
}

func TestLoadFaults(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		key  string
		kind error
	}{
		"missing file":        {"/nonexistent/cosign.pub", factory.ErrNotFound},
		"garbage":             {write(t, "cosign.pub", "garbage"), factory.ErrInvalid},
		"unknown key service": {"pkcs11://token", factory.ErrInvalid},
		"bad URI":             {"hashivault://", factory.ErrUnavailable},
	} {
		if _, err := loadVerifier(t.Context(), tc.key); !errors.Is(err, tc.kind) {
			t.Errorf("verify with %s: %v", what, err)
		}
		if _, err := loadSigner(t.Context(), tc.key, nil); !errors.Is(err, tc.kind) {
			t.Errorf("sign with %s: %v", what, err)
		}
	}
}

func TestALostPublicKeyNeedsThePassword(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	pair, _, err := EnsureKeyPair(dir, func() ([]byte, error) { return []byte("right"), nil })
	must(t, err)
	must(t, os.Remove(pair.Public))
	if _, _, err := EnsureKeyPair(dir, nil); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("restored without the password: %v", err)
	}
	if _, err := os.Stat(pair.Public); err == nil {
		t.Error("a public key appeared")
	}
}
