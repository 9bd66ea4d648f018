package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/cosign"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/store"
)

// attestEvery is how old the newest attested scan of a release in force may become before a run attests it anew.
const attestEvery = 20 * time.Hour

// attested is what of a release was attested last. It is kept beside the state, release by release: without it, a scan is attested
// once more than needed.
type attested struct {
	Database factory.Digest `json:"database"`
	At       time.Time      `json:"at"` // of the scan
}

func (a *app) attestedFile(release string) string {
	return filepath.Join(a.cfg.State, "attested", release+".json")
}

// attestedLast returns what was attested last; of a release that nobody rescanned, that is what it was released with.
func (a *app) attestedLast(r factory.Release) attested {
	last := attested{r.Scan.Database.Digest, r.Scan.At}
	if b, err := os.ReadFile(a.attestedFile(r.ID)); err == nil {
		_ = json.Unmarshal(b, &last)
	}
	return last
}

// due reports whether a scan must be attested: it used other data than what was attested last, or that has grown old.
func (l attested) due(s factory.Scan) bool {
	return s.Database.Digest != l.Database || s.At.Sub(l.At) >= attestEvery
}

// attestIfDue publishes what the newest scan of a release in force found, unless that was done already.
func (c *command) attestIfDue(ctx context.Context, run string, set definition.Set, r factory.Release, s factory.Scan) error {
	if !c.attestedLast(r).due(s) {
		return nil
	}
	if err := c.attestScan(ctx, run, set, r, s); err != nil {
		return fmt.Errorf("attest the scan of %s: %w", r.Tagged(), err)
	}
	b, err := json.Marshal(attested{s.Database.Digest, s.At})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(c.attestedFile(r.ID)), 0o700)
	}
	if err == nil {
		err = os.WriteFile(c.attestedFile(r.ID), b, 0o600)
	}
	return err
}

// attestScan publishes a scan next to the image, with what the gate of each environment that the release is in says now, so that
// whoever asks for fresh evidence gets it, also when it is bad. A decision that blocks for nothing but the age or kind of the data
// is left out: the image did not become worse, and how old data may be is for whoever verifies to say.
func (c *command) attestScan(ctx context.Context, run string, set definition.Set, r factory.Release, scan factory.Scan) error {
	if err := c.serveRegistry(ctx); err != nil {
		return err
	}
	signing, err := c.signingKept(ctx, run)
	if err != nil {
		return err
	}
	own, err := c.judge(ctx, set, r, r.Tag.Env)
	if err != nil {
		return err
	}
	vex, err := c.vex(ctx, own.Evidence, own.Decision)
	if err != nil {
		return err
	}
	db, err := c.store(ctx)
	if err != nil {
		return err
	}
	entries, err := db.Ledger(ctx, store.LedgerQuery{Image: r.Image, Digest: r.Digest})
	if err != nil {
		return err
	}
	decisions := map[factory.Tag]factory.Decision{}
	for _, e := range entries {
		if _, done := decisions[e.Tag]; done || e.Revoked || e.Release != r.ID {
			continue
		}
		there, err := c.judge(ctx, set, r, e.Env)
		if err != nil {
			return err
		}
		if !onlyData(there.Decision) {
			decisions[e.Tag] = there.Decision
		}
	}
	sigs, err := signing.signer.Rescanned(ctx, r.Repository, r.Artifact, cosign.Rescan{Scan: scan, VEX: vex.Data, Decisions: decisions})
	if err != nil {
		return err
	}
	return signing.signer.Attach(ctx, r.Repository, sigs)
}

// onlyData reports whether a decision blocks, and for the vulnerability data alone.
func onlyData(d factory.Decision) bool {
	return !d.Pass && !slices.ContainsFunc(d.Blocking(), func(r factory.Reason) bool { return r.Rule != "database" })
}

// signingKept is signing with a key that there is. What is said about an image that is published already means nothing when a new
// key says it.
func (c *command) signingKept(ctx context.Context, run string) (*signing, error) {
	if file := c.cfg.Key; file != "keyless" && !strings.Contains(file, "://") {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "no signing key " + file + ", and nobody would believe a new one about images that are published already",
				Hint: "restore the key from its backup, or name it: --key FILE"}
		}
	}
	return c.signing(ctx, run)
}
