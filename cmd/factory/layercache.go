package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/oci"
	"github.com/imagefactory/imagefactory/factory/rebase"
	"github.com/imagefactory/imagefactory/factory/registry"
)

// layerCache knows what layers hold. Each is read once: what was found is kept beside the state, by digest.
type layerCache struct {
	client *registry.Client
	blobs  string // folder of blobs, of this run
	kept   string // folder of what was found
	mu     sync.Mutex
	known  map[factory.Digest]*layerFacts
	files  map[factory.Digest]*sync.Once
}

type layerFacts struct {
	once    sync.Once
	content factory.Content
	err     error
}

// contents are those of some layers of a repository.
func (c *layerCache) contents(ctx context.Context, repository string, layers []oci.Sized) ([]factory.Content, error) {
	var all []factory.Content
	for _, l := range layers {
		c.mu.Lock()
		if c.known == nil {
			c.known = map[factory.Digest]*layerFacts{}
		}
		f := c.known[l.Digest]
		if f == nil {
			f = &layerFacts{}
			c.known[l.Digest] = f
		}
		c.mu.Unlock()
		f.once.Do(func() { f.content, f.err = c.content(ctx, repository, l) })
		if f.err != nil {
			return nil, f.err
		}
		all = append(all, f.content)
	}
	return all, nil
}

func (c *layerCache) content(ctx context.Context, repository string, l oci.Sized) (factory.Content, error) {
	file := filepath.Join(c.kept, fmt.Sprintf("%d-%s.json.gz", oci.ContentSchema, l.Digest.Hex()))
	if found, err := readContent(file); err == nil && found.Layer == l.Digest {
		return found, nil
	}
	blob, err := c.blob(ctx, repository, l)
	if err != nil {
		return factory.Content{}, err
	}
	f, err := os.Open(blob)
	if err != nil {
		return factory.Content{}, err
	}
	found, err := oci.Content(ctx, l.Digest, f, rebase.Keep)
	if err := errors.Join(err, f.Close()); err != nil {
		return found, err
	}
	return found, writeContent(file, found)
}

// blob is the file with a layer's bytes. It is fetched once in a run.
func (c *layerCache) blob(ctx context.Context, repository string, l oci.Sized) (file string, err error) {
	file = filepath.Join(c.blobs, l.Digest.Hex())
	c.mu.Lock()
	if c.files == nil {
		c.files = map[factory.Digest]*sync.Once{}
	}
	once := c.files[l.Digest]
	if once == nil {
		once = &sync.Once{}
		c.files[l.Digest] = once
	}
	c.mu.Unlock()
	once.Do(func() { err = c.fetch(ctx, repository, l, file) })
	if err != nil {
		c.mu.Lock()
		delete(c.files, l.Digest) // the next one who asks tries again
		c.mu.Unlock()
		return file, err
	}
	if _, err := os.Stat(file); err != nil {
		return file, &factory.Problem{Kind: factory.ErrUnavailable, What: "layer " + l.Digest.Short() + " could not be fetched", Cause: err}
	}
	return file, nil
}

func (c *layerCache) fetch(ctx context.Context, repository string, l oci.Sized, file string) error {
	tmp, err := os.CreateTemp(c.blobs, ".blob-*")
	if err != nil {
		return err
	}
	err = c.client.Blob(ctx, repository, l.Digest, l.Size, tmp)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), file)
}

func readContent(file string) (found factory.Content, err error) {
	f, err := os.Open(file)
	if err != nil {
		return found, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return found, err
	}
	return found, json.NewDecoder(io.LimitReader(z, 1<<30)).Decode(&found)
}

// writeContent replaces the file in one step. What is damaged is read anew from the layer.
func writeContent(file string, found factory.Content) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".content-*")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(tmp)
	err = json.NewEncoder(z).Encode(found)
	if err := errors.Join(err, z.Close(), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return os.Rename(tmp.Name(), file)
}
