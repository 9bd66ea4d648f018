package cosign

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"

	// The key services that a key URI can name.
	_ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/azure"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"

	"github.com/imagefactory/imagefactory/factory"
)

// services are the schemes of key URIs. Others are refused: sigstore would look for a program of that name in PATH.
var services = []string{"awskms://", "azurekms://", "gcpkms://", "hashivault://"}

// inService reports whether key is the URI of a key service, and refuses URIs of unknown ones.
func inService(key string) (bool, error) {
	for _, s := range services {
		if strings.HasPrefix(key, s) {
			return true, nil
		}
	}
	if scheme, _, ok := strings.Cut(key, "://"); ok {
		return false, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("unknown key service %.20q", scheme), Hint: "a file, or one of " + strings.Join(services, " ")}
	}
	return false, nil
}

// loadSigner returns the private key that key (a file or a key service's URI) names.
func loadSigner(ctx context.Context, key string, password func() ([]byte, error)) (signature.SignerVerifier, error) {
	remote, err := inService(key)
	switch {
	case err != nil:
		return nil, err
	case remote:
		return fromService(ctx, key)
	}
	return loadPrivate(key, password)
}

// loadVerifier returns the public key that key (a PEM file or a key service's URI) names.
func loadVerifier(ctx context.Context, key string) (signature.Verifier, error) {
	remote, err := inService(key)
	switch {
	case err != nil:
		return nil, err
	case remote:
		sv, err := fromService(ctx, key)
		if err != nil {
			return nil, err
		}
		return local(sv)
	}
	return loadPublic(key)
}

func loadPublic(key string) (signature.Verifier, error) {
	text, err := os.ReadFile(key)
	if err != nil {
		return nil, missing("public key", key, err)
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(text)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: key + " is not a public key in PEM form", Hint: "it is the file named cosign.pub", Cause: err}
	}
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "public key " + key, Cause: err}
	}
	return v, nil
}

// local returns the public half of a key for use on this machine: a key service is asked once, not for every signature,
// and does not have to allow verifying.
func local(key signature.PublicKeyProvider) (signature.Verifier, error) {
	pub, err := key.PublicKey()
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "public key of a key service", Cause: err}
	}
	return signature.LoadVerifier(pub, crypto.SHA256)
}

func fromService(ctx context.Context, uri string) (signature.SignerVerifier, error) {
	sv, err := kms.Get(ctx, uri, crypto.SHA256)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "key service: " + uri, Hint: "check the key's name, and that service's own environment variables and credentials", Cause: err}
	}
	return sv, nil
}

func loadPrivate(path string, password func() ([]byte, error)) (signature.SignerVerifier, error) {
	if err := private(path, 0o600); err != nil {
		return nil, missing("private key", path, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	pass, err := secret(password)
	if err != nil {
		return nil, fmt.Errorf("password of %s: %w", path, err)
	}
	sv, err := cosign.LoadPrivateKey(text, pass, nil)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "private key " + path, Hint: "it must be made by cosign, and the password must be its own", Cause: err}
	}
	return sv, nil
}

func missing(what, path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("%s %s", what, path), Hint: "check the path", Cause: fs.ErrNotExist}
	}
	return err
}
