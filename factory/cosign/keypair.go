package cosign

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/imagefactory/imagefactory/factory"
)

// KeyPair names the two files of a key pair.
type KeyPair struct {
	Private string // cosign.key: encrypted PEM, mode 0600
	Public  string // cosign.pub: what others need to verify
}

// EnsureKeyPair returns the key pair in dir and makes it when there is none. It is made whole or not at all, and never
// overwritten; of two processes that make one at once, the second takes the first one's. A public key that was lost is
// written anew from the private one. Nil password means the empty one.
//
// ErrInvalid when dir or the private key can be read by others: the hint is the chmod to type.
func EnsureKeyPair(dir string, password func() ([]byte, error)) (pair KeyPair, created bool, err error) {
	pair = KeyPair{Private: filepath.Join(dir, "cosign.key"), Public: filepath.Join(dir, "cosign.pub")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return pair, false, fmt.Errorf("key folder: %w", err)
	}
	if err := private(dir, 0o700); err != nil {
		return pair, false, err
	}
	switch err := private(pair.Private, 0o600); {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return pair, false, err
	default:
		if _, err := os.Stat(pair.Public); err == nil {
			return pair, false, &factory.Problem{Kind: factory.ErrConflict, What: pair.Public + " is there, but its private key " + pair.Private + " is not",
				Hint: "restore the private key from a backup, or move the public key away to begin with a new pair"}
		}
		if created, err = makeKeys(pair, password); err != nil {
			return pair, created, err
		}
	}
	if _, err := os.Stat(pair.Public); errors.Is(err, fs.ErrNotExist) {
		return pair, created, restorePublic(pair, password)
	}
	return pair, created, nil
}

// private refuses a path that others can read.
func private(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s has mode %04o: others can reach a private key", path, info.Mode().Perm()),
			Hint: fmt.Sprintf("chmod %o %s", mode, path)}
	}
	return nil
}

// makeKeys reports false when another process was faster. A process killed between the two files leaves a private key,
// from which the public one is restored.
func makeKeys(pair KeyPair, password func() ([]byte, error)) (created bool, err error) {
	keys, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return secret(password) })
	if err != nil {
		return false, fmt.Errorf("new key pair: %w", err)
	}
	err = writeOnce(pair.Private, keys.PrivateBytes, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("new private key: %w", err)
	}
	if err := writeOnce(pair.Public, keys.PublicBytes, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return true, fmt.Errorf("new public key: %w", err)
	}
	return true, nil
}

func restorePublic(pair KeyPair, password func() ([]byte, error)) error {
	sv, err := loadPrivate(pair.Private, password)
	if err != nil {
		return err
	}
	pub, err := sv.PublicKey()
	if err != nil {
		return fmt.Errorf("public key of %s: %w", pair.Private, err)
	}
	text, err := publicPEM(pub)
	if err != nil {
		return err
	}
	if err := writeOnce(pair.Public, text, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func publicPEM(pub crypto.PublicKey) ([]byte, error) {
	text, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return text, nil
}

// writeOnce makes a file appear whole and flushed, or returns fs.ErrExist.
func writeOnce(path string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil { // unlike rename, link never replaces
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func secret(password func() ([]byte, error)) ([]byte, error) {
	if password == nil {
		return nil, nil
	}
	return password()
}
