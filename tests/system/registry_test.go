package system_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/imagefactory/imagefactory/factory"
)

func now() time.Time { return time.Now() }

// withFile is a layer with one more file.
func withFile(t testing.TB, l v1.Layer, file, content string) v1.Layer {
	t.Helper()
	r, err := l.Uncompressed()
	must(t, err)
	var b bytes.Buffer
	_, err = io.Copy(&b, r)
	must(t, errors.Join(err, r.Close()))
	tarred := bytes.TrimRight(b.Bytes(), "\x00") // the end mark is zeros, and so may be the end of the last file
	b.Truncate((len(tarred) + 511) / 512 * 512)
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(content))}))
	_, err = w.Write([]byte(content))
	must(t, errors.Join(err, w.Close()))
	more, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	must(t, err)
	return more
}

// tags are the tags of an image that a consumer would use, with what each stands for.
func (p plant) tags(t testing.TB, repository string) map[string]string {
	t.Helper()
	repo, err := name.NewRepository(repository, name.Insecure)
	must(t, err)
	list, err := remote.List(repo)
	if err != nil && strings.Contains(err.Error(), "NAME_UNKNOWN") {
		return nil
	}
	must(t, err)
	found := map[string]string{}
	for _, tag := range list {
		if _, err := factory.ParseTag(tag); err != nil {
			continue // signatures and attestations
		}
		d, err := remote.Head(repo.Tag(tag))
		must(t, err)
		found[tag] = d.Digest.String()
	}
	return found
}

// sound checks that whatever has a tag is whole and signed: every blob is there with its digest, and every check of verify holds.
func (p plant) sound(t testing.TB, repository string) map[string]string {
	t.Helper()
	tags := p.tags(t, repository)
	for tag := range tags {
		p.ok(t, "verify", repository+":"+tag)
		ref, err := name.ParseReference(repository+":"+tag, name.Insecure)
		must(t, err)
		index, err := remote.Index(ref)
		must(t, err)
		if err := validate.Index(index); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	return tags
}
