package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// Parents keeps the releases that children are built on, each as an OCI layout in a folder that the digest of its index
// names, in hex. It is safe for concurrent use by one process.
type Parents struct {
	Dir    string
	Client *Client
	// Now is the clock that dates the last use of a release. It is required.
	Now func() time.Time

	mu   sync.Mutex
	good map[factory.Digest]bool // held to their digests in this run
}

// Pull makes sure that a release is there, whole, and returns its layout. What is there already is not fetched again, and a blob
// that was cut is continued. Everything is held to its digest. ErrNotFound when the registry does not have it any more.
func (p *Parents) Pull(ctx context.Context, base factory.Base) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	dir := filepath.Join(p.Dir, base.Digest.Hex())
	if p.good[base.Digest] {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return dir, folder(err)
	}
	s, err := p.Client.open(base.Repository, transport.PullScope)
	if err != nil {
		return dir, err
	}
	if err := s.pull(ctx, dir, base.Digest); err != nil {
		if errors.Is(err, factory.ErrNotFound) {
			return dir, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("the registry has lost %s@%s, on which images are built", base.Image, base.Digest), Hint: "make it anew: factory build " + base.Image, Cause: err}
		}
		return dir, err
	}
	if p.good == nil {
		p.good = map[factory.Digest]bool{}
	}
	p.good[base.Digest] = true
	now := p.Now()
	return dir, folder(os.Chtimes(dir, now, now))
}

// Sweep removes what nobody has used for so long.
func (p *Parents) Sweep(unused time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, err := os.ReadDir(p.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return folder(err)
	}
	var errs []error
	for _, e := range all {
		if info, err := e.Info(); err == nil && p.Now().Sub(info.ModTime()) > unused {
			errs = append(errs, os.RemoveAll(filepath.Join(p.Dir, e.Name())))
		}
	}
	return folder(errors.Join(errs...))
}

func folder(err error) error {
	if err == nil {
		return nil
	}
	return &factory.Problem{Kind: factory.ErrUnavailable, What: "folder of pulled images", Cause: err}
}

// pull fetches what a layout lacks of an image, and names the image in it at the end.
func (s *session) pull(ctx context.Context, dir string, d factory.Digest) error {
	size, err := s.keepManifest(ctx, dir, d)
	if err != nil {
		return err
	}
	var all content
	todo := []descriptor{{Digest: d}}
	for len(todo) > 0 {
		children, err := all.children(dir, todo[0])
		if err != nil {
			return err
		}
		todo = todo[1:]
		for _, c := range children {
			if !isManifest(c.MediaType) {
				all.blobs = append(all.blobs, blob{digest: c.Digest, size: c.Size, file: blobFile(dir, c.Digest)})
				continue
			}
			if _, err := s.keepManifest(ctx, dir, c.Digest); err != nil {
				return err
			}
			todo = append(todo, c)
		}
	}
	if err := s.each(ctx, all.once(), s.keepBlob); err != nil {
		return err
	}
	entry := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":%d}]}`, d, size)
	return errors.Join(folder(write(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))), folder(write(filepath.Join(dir, "index.json"), []byte(entry))))
}

func blobFile(dir string, d factory.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Hex())
}

// children reads the parts of a manifest that lies in a layout.
func (c *content) children(dir string, d descriptor) ([]descriptor, error) {
	body, err := os.ReadFile(blobFile(dir, d.Digest))
	if err != nil {
		return nil, folder(err)
	}
	var m struct {
		Config    *descriptor  `json:"config"`
		Layers    []descriptor `json:"layers"`
		Manifests []descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, damaged(dir, d.Digest, "is not a manifest: "+err.Error())
	}
	all := append(m.Manifests, m.Layers...)
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	for _, child := range all {
		if _, err := factory.ParseDigest(string(child.Digest)); err != nil || child.Size <= 0 {
			return nil, damaged(dir, d.Digest, "names a part without digest or size")
		}
	}
	return all, nil
}

// once returns the blobs, each once.
func (c content) once() (all []blob) {
	seen := map[factory.Digest]bool{}
	for _, b := range c.blobs {
		if !seen[b.digest] {
			all = append(all, b)
		}
		seen[b.digest] = true
	}
	return all
}

// keepManifest puts a manifest into a layout unless it is there, and returns its size.
func (s *session) keepManifest(ctx context.Context, dir string, d factory.Digest) (int, error) {
	if b, err := os.ReadFile(blobFile(dir, d)); err == nil && factory.DigestOf(b) == d {
		return len(b), nil
	}
	body, _, err := s.get(ctx, string(d))
	if err != nil {
		return 0, err
	}
	return len(body), folder(write(blobFile(dir, d), body))
}

// write replaces a file in one step.
func write(file string, b []byte) error {
	if err := os.WriteFile(file+".part", b, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".part", file)
}

// keepBlob puts a blob into a layout unless it is there. What another attempt left of it is continued.
func (s *session) keepBlob(ctx context.Context, b blob) error {
	if d, err := hashFile(b.file); err == nil && d == b.digest {
		return nil
	}
	return s.try(ctx, "fetch "+short(string(b.digest)), func(ctx context.Context) error {
		part := b.file + ".part"
		if err := s.receive(ctx, b, part); err != nil {
			return err
		}
		d, err := hashFile(part)
		if err != nil {
			return folder(err)
		}
		if d != b.digest {
			return errors.Join(unlike(s.host(), b.digest, "comes as "+string(d)), os.Remove(part))
		}
		return folder(os.Rename(part, b.file))
	})
}

// receive appends to a part what it lacks.
func (s *session) receive(ctx context.Context, b blob, part string) error {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return folder(err)
	}
	defer func() { _ = f.Close() }()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return folder(err)
	}
	if have == b.size {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url("blobs/"+string(b.digest)).String(), nil)
	if err != nil {
		return err
	}
	if have > 0 && have < b.size {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := s.do(req, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK { // all of it, whatever was asked for
		have = 0
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return folder(err)
		}
		if err := f.Truncate(0); err != nil {
			return folder(err)
		}
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, b.size-have+1))
	if err != nil {
		return err
	}
	if have+n < b.size {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func hashFile(file string) (factory.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return factory.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}
