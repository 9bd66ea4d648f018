package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// releaseLimit is how large a Release file may be, in bytes.
const releaseLimit = 4 << 20

// record is what an image's last lock was made from.
type record struct {
	Lock       factory.Digest            `json:"lock"` // of the lock's bytes, less what it pins
	Definition factory.Digest            `json:"definition"`
	Tools      map[string]factory.Digest `json:"tools,omitempty"`
	Roles      map[string]factory.Digest `json:"roles,omitempty"`
	Suites     []suiteRecord             `json:"suites"`
}

type suiteRecord struct {
	Archive    string         `json:"archive"`
	Suite      string         `json:"suite"`
	Platform   string         `json:"platform,omitempty"` // RPM only
	Folder     string         `json:"folder,omitempty"`   // below the archive's URL, as a mirror list named it
	Digest     factory.Digest `json:"digest"`             // of the InRelease or repomd.xml that was verified
	ValidUntil time.Time      `json:"validUntil,omitzero"`
	ETag       string         `json:"etag,omitempty"` // a modification time would be too coarse to rely on
}

// Current reports whether a Solve would certainly return req.Old again: the definition, tools, roles and parent are the same, and
// so is every byte that the archives sign, compared with what was verified for the last lock; mirror lists are asked again. False means only that
// somebody must look: there is no memory of that lock, something moved, or a release is past its Valid-Until.
// The error is ErrUnavailable when an archive does not answer.
func (s Solver) Current(ctx context.Context, req Request) (bool, error) {
	same, err := s.adapter(req.Image.Distro).current(ctx, req)
	return same && req.pinned(), err
}

func (s apt) current(ctx context.Context, req Request) (bool, error) {
	srcs, err := sources(req.Image, s.Archives)
	if err != nil {
		return false, err
	}
	rec, ok := s.recall(req, len(srcs))
	if !ok {
		return false, nil
	}
	for i, r := range rec.Suites {
		// Else an archive that is held back by somebody in between would look unchanged for ever.
		if r.Archive != srcs[i].ID || r.Suite != srcs[i].Suite || !r.ValidUntil.IsZero() && s.Now().After(r.ValidUntil) {
			return false, nil
		}
	}
	return s.compare(req.Image.Name, rec, func(i int, r *suiteRecord) (bool, error) {
		return unchanged(ctx, client(s.HTTP), srcs[i].String(), srcs[i].release(), inRelease, r)
	})
}

// compare reports whether all suites of a record are as they were, and keeps what it learned by that.
func (s Solver) compare(image string, rec record, same func(i int, r *suiteRecord) (bool, error)) (bool, error) {
	ok := make([]bool, len(rec.Suites))
	errs := make([]error, len(rec.Suites))
	var all sync.WaitGroup
	for i := range rec.Suites {
		all.Go(func() { ok[i], errs[i] = same(i, &rec.Suites[i]) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	if slices.Contains(ok, false) {
		return false, nil
	}
	s.save(image, rec)
	return true, nil
}

// recall returns the record of req.Old, if there is one of so many suites that still counts.
func (s Solver) recall(req Request, suites int) (rec record, ok bool) {
	if s.Cache == "" || req.Old == nil || !fileName.MatchString(req.Image.Name) {
		return record{}, false
	}
	b, err := os.ReadFile(s.recordFile(req.Image.Name))
	if err != nil || json.Unmarshal(b, &rec) != nil {
		return record{}, false
	}
	lock, err := essence(*req.Old)
	if err != nil || rec.Lock != lock || rec.Definition != req.Definition || len(rec.Suites) != suites ||
		!maps.Equal(rec.Tools, req.Tools) || !maps.Equal(rec.Roles, req.Roles) {
		return record{}, false
	}
	return rec, true
}

// unchanged asks for the file that stands for all of a suite and compares it with the recorded one.
func unchanged(ctx context.Context, c *http.Client, src, url, file string, rec *suiteRecord) (bool, error) {
	down := func(cause error) (bool, error) {
		return false, &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("archive %s: %s: the archive does not answer", src, file), Cause: nameless(cause)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return down(err)
	}
	if rec.ETag != "" {
		req.Header.Set("If-None-Match", rec.ETag)
	}
	res, err := c.Do(req)
	if err != nil {
		return down(err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotModified:
		return true, nil
	case http.StatusOK:
	default:
		return down(errors.New(res.Status))
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, releaseLimit+1))
	if err != nil {
		return down(err)
	}
	if len(b) > releaseLimit || factory.DigestOf(b) != rec.Digest {
		return false, nil
	}
	rec.ETag = res.Header.Get("ETag")
	return true, nil
}

func suiteRecords(srcs []source, rels []suiteState) (all []suiteRecord) {
	for i, src := range srcs {
		r := suiteRecord{Archive: src.ID, Suite: src.Suite, Digest: rels[i].Digest}
		if !src.AllowExpired {
			r.ValidUntil = rels[i].ValidUntil
		}
		all = append(all, r)
	}
	return all
}

// remember keeps what a lock was made from.
func (s Solver) remember(req Request, lock factory.Lock, suites []suiteRecord) error {
	d, err := essence(lock)
	if err != nil {
		return err
	}
	s.save(req.Image.Name, record{Lock: d, Definition: req.Definition, Tools: req.Tools, Roles: req.Roles, Suites: suites})
	return nil
}

// save writes a record. That it cannot is no reason to lose a lock: the next run only takes longer.
func (s Solver) save(image string, rec record) {
	if s.Cache == "" || !fileName.MatchString(image) {
		return
	}
	if err := s.write(image, rec); err != nil {
		s.warn(image, "the next run cannot tell quickly whether the archives changed: "+err.Error())
	}
}

func (s Solver) write(image string, rec record) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	name := s.recordFile(image)
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, b) {
		return nil
	}
	return replaceFile(name, b)
}

func (s Solver) recordFile(image string) string { return filepath.Join(s.Cache, image+".json") }

// essence is the digest of a lock without the digest that it pins, which is added later.
func essence(lock factory.Lock) (factory.Digest, error) {
	lock.Digest = ""
	b, err := lock.Encode()
	return factory.DigestOf(b), err
}
