package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/cosign"
	"github.com/imagefactory/imagefactory/factory/store"
)

// builderID names the factory in provenance, and verify expects it there.
const builderID = "https://github.com/imagefactory/imagefactory"

// signing is who signs and how that is checked.
type signing struct {
	signer *cosign.Signer
	verify cosign.VerifyOptions
}

// Verify checks a published digest with nothing but what a consumer has.
func (s *signing) Verify(ctx context.Context, repository string, d factory.Digest) error {
	_, err := cosign.Verify(ctx, repository+"@"+string(d), s.verify)
	return err
}

// signing makes the signer as configured. A key pair that does not exist yet is made, and said loudly.
func (a *app) signing(ctx context.Context, run string) (*signing, error) {
	s := &signing{signer: &cosign.Signer{
		Log: a.cfg.values["rekor"].Value, Builder: builderID, Version: version, Run: run, Now: a.w.Now, Remote: a.remote(),
	}}
	switch {
	case a.cfg.Key == "keyless":
		s.signer.Keyless = &cosign.Keyless{FulcioURL: a.cfg.values["fulcio"].Value, IDToken: func(context.Context) (string, error) {
			b, err := secret(a.cfg.values["identity-token"].Value, a.w.Env)
			return string(b), err
		}}
	case strings.Contains(a.cfg.Key, "://"):
		s.signer.Key = a.cfg.Key
	default:
		if err := a.keyPair(); err != nil {
			return nil, err
		}
		s.signer.Key, s.signer.Password = a.cfg.Key, a.keyPassword
	}
	s.verify = a.verifyOptions()
	return s, s.verify.Check()
}

// verifyOptions say by whom an image must be signed. The key setting may name a public key, on machines that only verify.
func (a *app) verifyOptions() cosign.VerifyOptions {
	o := cosign.VerifyOptions{Builder: builderID, Remote: a.remote()}
	switch {
	case a.cfg.Key == "keyless":
		o.TrustedRoot = a.cfg.values["trusted-root"].Value
		o.Identity, o.Issuer = a.cfg.values["identity"].Value, a.cfg.values["issuer"].Value
	case strings.Contains(a.cfg.Key, "://"):
		o.Key = a.cfg.Key
	default:
		o.Key = publicKey(a.cfg.Key)
	}
	return o
}

// publicKey is the file next to a private key that holds its public half; a file that is public already, or that is not
// there, is itself.
func publicKey(file string) string {
	b, _ := os.ReadFile(file)
	private, named := strings.CutSuffix(file, ".key")
	switch {
	case bytes.Contains(b, []byte("-----BEGIN PUBLIC KEY-----")):
		return file
	case named:
		return private + ".pub"
	case bytes.Contains(b, []byte("PRIVATE KEY-----")):
		return file + ".pub"
	}
	return file
}

func (a *app) remote() cosign.Remote {
	client := a.registry()
	return cosign.Remote{Transport: client.RoundTripper(), Retry: client.Retry.Do}
}

func (a *app) keyPassword() ([]byte, error) {
	return secret(a.cfg.values["key-password"].Value, a.w.Env)
}

// keyPair makes the default key pair once. A key that somebody configured is never made for them.
func (a *app) keyPair() error {
	if a.cfg.values["key"].Origin != "default" {
		if _, err := os.Stat(a.cfg.Key); err != nil {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "signing key", Cause: err, Hint: "make it with cosign generate-key-pair, or leave key at its default"}
		}
		return nil
	}
	pair, created, err := cosign.EnsureKeyPair(filepath.Dir(a.cfg.Key), a.keyPassword)
	if err == nil && created {
		a.events.Emit(factory.Event{Kind: factory.Warned, Message: fmt.Sprintf(
			"MADE A NEW SIGNING KEY: %s. Everything that this factory publishes is trusted by it: back it up, keep it secret, give %s to whoever verifies",
			pair.Private, pair.Public)})
	}
	return err
}

func storeHolder(r factory.Run) store.Holder {
	return store.Holder{Run: r.ID, Command: r.Command, Host: r.Host, PID: r.PID, Since: r.Started}
}

func newKey(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "print the public key that this factory's images verify with",
		Long:    "key prints the public key in PEM, for cosign verify --key and factory verify --key elsewhere. It makes the default key pair when there\nis none yet.\n\n" + exitHelp,
		Example: "  factory key > cosign.pub"}
	return leaf(c, mk, func(_ context.Context, c *command, _ []string) error {
		if c.cfg.Key == "keyless" || strings.Contains(c.cfg.Key, "://") {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "the key is not a file: " + c.cfg.Key, Hint: "verify with that reference, or with the identity"}
		}
		if _, err := os.Stat(filepath.Join(c.cfg.Dir, "baseimages")); err != nil && c.cfg.values["key"].Origin == "default" && c.cfg.values["state"].Origin == "default" {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "no baseimages/ in " + c.cfg.Dir + " or above, so this is no factory's key", Hint: "run in the repository, or name it: --dir DIR"}
		}
		if err := c.keyPair(); err != nil {
			return err
		}
		b, err := os.ReadFile(publicKey(c.cfg.Key))
		if err != nil {
			return &factory.Problem{Kind: factory.ErrNotFound, What: "public key", Cause: err, Hint: "cosign public-key --key " + c.cfg.Key}
		}
		_, err = c.out().Write(b)
		return err
	})
}

func newVerify(mk maker) *cobra.Command {
	c := &cobra.Command{
		Use: "verify REF", Short: "check everything that is published about an image: signature, provenance, SBOM, scan, compliance, decision", Args: cobra.ExactArgs(1),
		Long: `verify checks REF (repository:tag or repository@digest) in its registry, one line a check: signatures, provenance, SBOMs, vulnerability
report, compliance, VEX, the gate's decision for the tag, revocation. It needs the public key and nothing else of the factory that made
the image, so it works on any machine. Where the factory's own ledger is at hand, its revocations count too, and REF may be anything that
factory show takes: of an image the newest release, or with --env the one in force there, is verified by its digest.

` + exitHelp,
		Example: "  factory verify debian-12 --env prod\n  factory verify 127.0.0.1:5117/debian-12:20261123-1a2b3c4d-dev\n  factory verify --key cosign.pub --env prod --max-age 48h registry.example.com/base/debian-12@sha256:…",
	}
	var env, age string
	envFlag(c, &env, "demand that this environment's gate let the image in; of an image, verify what is in force there")
	c.Flags().StringVar(&age, "max-age", "", "demand that scan and vulnerability data are at most this old, as in 48h or 3d")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		ref, taken, err := c.published(ctx, args[0], env)
		if err != nil {
			return err
		}
		if err := c.serveKept(ctx, ref); err != nil {
			return err
		}
		options := c.verifyOptions()
		options.Now, options.Remote = c.w.Now, c.impatient()
		if env != "" {
			if options.Env, err = factory.ParseEnv(env); err != nil {
				return err
			}
		}
		if options.MaxAge, err = atMost(age); err != nil {
			return err
		}
		if options.Revoked, err = c.knownRevocations(ctx, ref); err != nil {
			return err
		}
		if _, err := os.Stat(options.Key); errors.Is(err, fs.ErrNotExist) && !strings.Contains(options.Key, "://") && options.Key != "" {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "no public key " + options.Key, Hint: "name the one that the publisher gave you: --key cosign.pub"}
		}
		checks, err := cosign.Verify(ctx, ref, options)
		if len(checks) == 0 {
			return err
		}
		if c.JSON {
			return errors.Join(err, c.printJSON(map[string]any{"ref": ref, "ok": err == nil, "checks": checks}))
		}
		if taken != "" {
			fmt.Fprintln(c.out(), taken)
		}
		for _, check := range checks {
			mark := "ok  "
			if !check.OK {
				mark = "FAIL"
			}
			fmt.Fprintf(c.out(), "%s  %s: %s\n", mark, check.Name, clean(check.Detail))
		}
		return err
	})
}

// impatient is for whoever waits at a terminal: three tries, not a minute of them.
func (a *app) impatient() cosign.Remote {
	client := a.registry()
	client.Retry.Attempts = 3
	return cosign.Remote{Transport: client.RoundTripper(), Retry: client.Retry.Do}
}

// knownRevocations asks the ledger, where this machine has one; elsewhere it is nil.
func (c *command) knownRevocations(ctx context.Context, ref string) (func(context.Context, factory.Digest) (string, error), error) {
	if !c.remembers() {
		return nil, nil
	}
	r, err := factory.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d factory.Digest) (string, error) {
		e, err := db.Revoked(ctx, r.Repository, d)
		if err != nil || e == nil {
			return "", err
		}
		return fmt.Sprintf("%s, by %s on %s", e.Reason, e.By, e.At.UTC().Format("2006-01-02")), nil
	}, nil
}

// serveKept serves the embedded registry when ref is in it and nobody else does. Where it never was, nothing is made; and
// whoever has the address is as good: signatures tell.
func (c *command) serveKept(ctx context.Context, ref string) error {
	if _, err := os.Stat(c.registryServer().Dir); err != nil || !strings.HasPrefix(ref, c.cfg.Addr+"/") {
		return nil
	}
	if err := c.serveRegistry(ctx); !errors.Is(err, factory.ErrUnavailable) {
		return err
	}
	return nil
}
