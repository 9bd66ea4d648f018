package registry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imagefactory/imagefactory/factory"
)

// maxManifest is what registries accept for one manifest.
const maxManifest = 4 << 20

// Client talks to OCI registries. The zero value uses the user's docker credentials and is safe for concurrent use.
type Client struct {
	// Transport carries the requests; nil = ggcr's default, which honours the proxy environment.
	Transport http.RoundTripper
	// Keychain finds credentials; nil = those of docker and podman, credential helpers included.
	Keychain authn.Keychain
	// Insecure lists hosts (host or host:port) that are spoken to by plain HTTP. Loopback always may be.
	Insecure []string
	// Stall ends a request on which no byte moves for so long; 0 = 60 s.
	Stall time.Duration
	// Jobs is how many blobs travel at once; 0 = 4.
	Jobs   int
	Retry  Retry
	Events factory.Events
}

// RoundTripper returns c's transport with its guard against stalled connections, for other clients of the same registry.
func (c *Client) RoundTripper() http.RoundTripper {
	next := c.Transport
	if next == nil {
		next = remote.DefaultTransport
	}
	return guard{next: next, stall: cmp.Or(c.Stall, time.Minute)}
}

func (c *Client) keychain() authn.Keychain {
	if c.Keychain == nil {
		return authn.DefaultKeychain
	}
	return c.Keychain
}

// session is an authenticated conversation with one repository. It is opened on first use, and again when that failed.
type session struct {
	client *Client
	repo   name.Repository
	scope  string
	mount  string // repository of the same registry that blobs may be taken over from; empty = none
	mu     sync.Mutex
	http   *http.Client
}

func (c *Client) open(repository, scope string) (*session, error) {
	repo, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	return &session{client: c, repo: repo, scope: scope}, nil
}

func (c *Client) repository(s string) (name.Repository, error) {
	ref, err := factory.ParseRepository(s)
	if err != nil {
		return name.Repository{}, err
	}
	opts := []name.Option{name.StrictValidation}
	if ref.On(c.Insecure) {
		opts = append(opts, name.Insecure)
	}
	repo, err := name.NewRepository(s, opts...)
	if err != nil {
		return name.Repository{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("repository %.120q", s), Cause: err}
	}
	return repo, nil
}

func (s *session) host() string { return s.repo.RegistryStr() }

// try runs f under the client's retry rules.
func (s *session) try(ctx context.Context, what string, f func(context.Context) error) error {
	retry := s.client.Retry
	if retry.Events == nil {
		retry.Events = s.client.Events
	}
	return retry.Do(ctx, s.host(), what, f)
}

func (s *session) login(ctx context.Context) (*http.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return s.http, nil
	}
	auth, err := authn.Resolve(ctx, s.client.keychain(), s.repo)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "credentials for " + s.host(), Hint: "docker login " + s.host(), Cause: err}
	}
	rt, err := transport.NewWithContext(ctx, s.repo.Registry, auth, s.client.RoundTripper(), s.scopes())
	if err != nil {
		return nil, err
	}
	s.http = &http.Client{Transport: rt}
	return s.http, nil
}

// scopes are the rights that a token needs.
func (s *session) scopes() []string {
	if s.scope == transport.CatalogScope {
		return []string{s.repo.Registry.Scope(s.scope)}
	}
	all := []string{s.repo.Scope(s.scope)}
	if s.mount != "" {
		all = append(all, s.repo.Registry.Repo(s.mount).Scope(transport.PullScope))
	}
	return all
}

// url returns the address of a thing in the repository, "manifests/<digest>" for example.
func (s *session) url(path string) *url.URL {
	return &url.URL{Scheme: s.repo.Scheme(), Host: s.host(), Path: "/v2/" + s.repo.RepositoryStr() + "/" + path}
}

// do sends one request and returns the response if its status is one of ok. The caller closes the body.
func (s *session) do(req *http.Request, ok ...int) (*http.Response, error) {
	client, err := s.login(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, ok...); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// manifest reads a manifest by tag or digest. The digest returned is that of the bytes, whatever the registry claims.
func (s *session) manifest(ctx context.Context, ref string) (body []byte, mediaType string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url("manifests/"+ref).String(), nil)
	if err != nil {
		return nil, "", err
	}
	for _, t := range []types.MediaType{types.OCIImageIndex, types.OCIManifestSchema1, types.DockerManifestList, types.DockerManifestSchema2} {
		req.Header.Add("Accept", string(t))
	}
	resp, err := s.do(req, http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return nil, "", err
	}
	if len(body) > maxManifest {
		return nil, "", &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: manifest %s is larger than %d bytes", s.host(), ref, maxManifest)}
	}
	return body, resp.Header.Get("Content-Type"), nil
}

// get reads a manifest that must exist with retries, and checks it when ref is a digest.
func (s *session) get(ctx context.Context, ref string) (body []byte, mediaType string, err error) {
	err = s.try(ctx, "read "+short(ref), func(ctx context.Context) (err error) {
		body, mediaType, err = s.manifest(ctx, ref)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if want, perr := factory.ParseDigest(ref); perr == nil && factory.DigestOf(body) != want {
		return nil, "", &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("registry %s: asked for %s, got bytes of %s", s.host(), want, factory.DigestOf(body))}
	}
	return body, mediaType, nil
}

// put writes a manifest under a tag or digest.
func (s *session) put(ctx context.Context, ref, mediaType string, body []byte) error {
	return s.try(ctx, "write "+short(ref), func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url("manifests/"+ref).String(), strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", mediaType)
		resp, err := s.do(req, http.StatusOK, http.StatusCreated, http.StatusAccepted)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// short makes a digest readable in messages and leaves anything else alone.
func short(ref string) string {
	if d, err := factory.ParseDigest(ref); err == nil {
		return "sha256:" + d.Short()
	}
	return ref
}
