package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// PullArtifact hands the one layer of mediaType that the artifact ref (repository:tag, repository@digest, or both) has to a
// function, while it arrives, and returns the digest of the artifact's manifest. A transfer that is cut goes on where it was. The reader's
// last answer is io.EOF only when everything was there and has the digest that the manifest says; what came before is not to be
// believed until then. ErrNotFound when there is no such artifact, ErrInvalid when it has no such layer or several,
// ErrUnverified when the bytes are others. An error of the function itself is returned as it is.
func (c *Client) PullArtifact(ctx context.Context, ref, mediaType string, to func(io.Reader) error) (factory.Digest, error) {
	r, err := factory.ParseRef(ref)
	if err != nil {
		return "", err
	}
	s, err := c.open(r.Repository, transport.PullScope)
	if err != nil {
		return "", err
	}
	body, _, err := s.get(ctx, cmp.Or(string(r.Digest), r.Tag))
	if err != nil {
		return "", err
	}
	layer, err := onlyLayer(body, mediaType)
	if err != nil {
		return "", &factory.Problem{Kind: factory.ErrInvalid, What: "artifact " + ref, Hint: "it must have exactly one layer of type " + mediaType, Cause: err}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, in := io.Pipe()
	p := &pull{session: s, layer: layer, ref: ref, to: in, sum: sha256.New()}
	done := make(chan error, 1)
	go func() {
		err := p.run(ctx)
		in.CloseWithError(err)
		done <- err
	}()
	took := to(out)
	if took == nil {
		_, took = io.Copy(io.Discard, out) // what it did not read counts too
	}
	if took != nil {
		cancel(took)
		out.CloseWithError(took)
	}
	if err := <-done; err != nil && errors.Is(took, err) {
		return "", err
	}
	if took != nil {
		return "", took
	}
	return factory.DigestOf(body), nil
}

func onlyLayer(manifest []byte, mediaType string) (descriptor, error) {
	var m struct {
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return descriptor{}, err
	}
	var found []descriptor
	var types []string
	for _, l := range m.Layers {
		types = append(types, fmt.Sprintf("%.100q", l.MediaType))
		if l.MediaType == mediaType {
			found = append(found, l)
		}
	}
	if len(found) != 1 {
		return descriptor{}, fmt.Errorf("it has %d layers of that type, of %d: %s", len(found), len(types), strings.Join(types[:min(len(types), 5)], ", "))
	}
	if found[0].Digest == "" || found[0].Size < 0 {
		return descriptor{}, errors.New("its layer has no digest or size")
	}
	return found[0], nil
}

// pull is a layer on its way.
type pull struct {
	session *session
	layer   descriptor
	ref     string
	to      io.Writer
	sum     hash.Hash
	got     int64
	told    int64
	refused error // by the receiver
	quiet   bool  // tells nobody how far it is
}

func (p *pull) run(ctx context.Context) error {
	p.tell()
	err := p.session.try(ctx, "pull "+short(string(p.layer.Digest)), func(ctx context.Context) error {
		if err := p.more(ctx); p.refused == nil {
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case p.refused != nil:
		return p.refused
	}
	if is := factory.Digest("sha256:" + hex.EncodeToString(p.sum.Sum(nil))); is != p.layer.Digest {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: asked for %s, got bytes of %s", p.session.host(), p.layer.Digest, is)}
	}
	return nil
}

// more asks for what is missing.
func (p *pull) more(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.session.url("blobs/"+string(p.layer.Digest)).String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if p.got > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.got))
	}
	resp, err := p.session.do(req, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if at := resp.Header.Get("Content-Range"); resp.StatusCode == http.StatusPartialContent && !strings.HasPrefix(at, fmt.Sprintf("bytes %d-", p.got)) {
		return fmt.Errorf("asked for the bytes from %d on, got %.60q", p.got, at)
	}
	if resp.StatusCode == http.StatusOK { // all of it, also when only the rest was asked for
		if _, err := io.CopyN(io.Discard, resp.Body, p.got); err != nil {
			return err
		}
	}
	if _, err := io.Copy(p, io.LimitReader(resp.Body, p.layer.Size-p.got+1)); err != nil {
		return err
	}
	if p.got < p.layer.Size {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Write passes on what arrived.
func (p *pull) Write(b []byte) (int, error) {
	if p.got+int64(len(b)) > p.layer.Size {
		return 0, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: %s has more than its %d bytes", p.session.host(), short(string(p.layer.Digest)), p.layer.Size)}
	}
	n, err := p.to.Write(b)
	p.sum.Write(b[:n])
	p.got += int64(n)
	p.refused = err
	if p.got == p.layer.Size || p.got-p.told > p.layer.Size/100 {
		p.tell()
	}
	return n, err
}

func (p *pull) tell() {
	p.told = p.got
	if p.quiet {
		return
	}
	p.session.client.Events.Emit(factory.Event{Kind: factory.Advanced, Message: "pull " + p.ref, Current: p.got, Total: p.layer.Size, Unit: "bytes"})
}
