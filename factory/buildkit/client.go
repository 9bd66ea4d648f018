package buildkit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"

	"github.com/imagefactory/imagefactory/factory"
)

// Client talks to one build service. It connects on first use, so that a night with nothing to do never starts one.
// The zero value with a Daemon is ready; it is safe for concurrent use.
type Client struct {
	// Addr is an existing daemon's address (unix:///run/buildkit/buildkitd.sock, tcp://…); empty starts Daemon.
	Addr string
	// Daemon is started when Addr is empty.
	Daemon *Daemon
	// Archives maps archive ids to base URLs, for the package sources.
	Archives map[string]string
	// Entitlements maps ids of archives that ask for a client certificate to its files.
	Entitlements map[string]factory.Entitlement
	// Parents is the folder of the layouts that children are built on, each named by the digest of its index, in hex.
	Parents string
	// Nonce returns a new unique string for steps that must not come from a cache.
	Nonce func() string
	// Events receives progress; nil discards.
	Events factory.Events

	mu      sync.Mutex
	c       *client.Client
	stop    func()
	workers []factory.Platform
	toolbox *factory.Root
	stores  map[string]content.Store // by store id
	secrets secretFiles
}

// connect returns the connection, making it (and the daemon) on first use.
func (c *Client) connect(ctx context.Context) (*client.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c != nil {
		return c.c, nil
	}
	addr := c.Addr
	if addr == "" {
		if c.Daemon == nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "no build service", Hint: "give --buildkit ADDR"}
		}
		var err error
		if addr, c.stop, err = c.Daemon.Start(ctx); err != nil {
			return nil, err
		}
	}
	conn, err := client.New(ctx, addr)
	if err != nil {
		err = unavailable(addr, err)
	} else if err = c.greet(ctx, conn, addr); err == nil {
		c.c = conn
		return conn, nil
	} else {
		_ = conn.Close()
	}
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	return nil, err
}

// greet asks the daemon what it can build.
func (c *Client) greet(ctx context.Context, conn *client.Client, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, fmt.Errorf("no answer from the build service in 15 s"))
	defer cancel()
	infos, err := conn.ListWorkers(ctx)
	if err != nil {
		return unavailable(addr, err)
	}
	c.workers = nil
	for _, info := range infos {
		for _, p := range info.Platforms {
			p = platforms.Normalize(p)
			c.workers = append(c.workers, factory.Platform{OS: p.OS, Architecture: p.Architecture})
		}
	}
	return nil
}

func unavailable(addr string, err error) error {
	return &factory.Problem{Kind: factory.ErrUnavailable, What: "build service " + addr, Cause: err,
		Hint: "check that buildkitd runs there, or leave out --buildkit and BUILDKIT_HOST to have the factory start its own"}
}

// Close ends the connection and stops the daemon that this client started.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.c != nil {
		err = c.c.Close()
		c.c = nil
	}
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	return err
}

// UseToolbox makes an OCI layout the toolbox that steps mount and that Build unpacks with.
func (c *Client) UseToolbox(layout string, manifest factory.Digest) error {
	root, err := c.openLayout(layout, manifest, factory.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toolbox = &root
	return nil
}

// Toolbox returns the toolbox as a root, for steps that run inside it.
func (c *Client) Toolbox() (factory.Root, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.toolbox == nil {
		return factory.Root{}, &factory.Problem{Kind: factory.ErrInvalid, What: "no toolbox was chosen", Hint: "make it: factory toolbox"}
	}
	return *c.toolbox, nil
}

// Open returns the filesystem of one platform of a packed image, unpacked from its layers as a consumer would.
func (c *Client) Open(_ context.Context, a factory.Artifact, p factory.Platform) (factory.Root, error) {
	for _, img := range a.Platforms {
		if img.Platform == p {
			return c.openLayout(a.Layout, img.Digest, p)
		}
	}
	return factory.Root{}, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("image %s has no %s", a.Digest.Short(), p)}
}

// openLayout registers the layout's blobs and describes the manifest as a source. The daemon reads the blobs through
// the session, so it may run anywhere.
func (c *Client) openLayout(layout string, manifest factory.Digest, p factory.Platform) (factory.Root, error) {
	store, err := contentlocal.NewStore(layout)
	if err != nil {
		return factory.Root{}, fmt.Errorf("image layout: %w", err)
	}
	id := manifest.Hex()
	c.mu.Lock()
	if c.stores == nil {
		c.stores = map[string]content.Store{}
	}
	c.stores[id] = store
	c.mu.Unlock()
	st := llb.OCILayout("factory.local/image@"+string(manifest), llb.OCIStore("", id),
		llb.OCIChecksum(digest.Digest(manifest)), llb.Platform(ociPlatform(p)), llb.WithCustomName("open image "+manifest.Short()))
	return marshal(context.Background(), st, p)
}

// storesOf returns the stores that a definition refers to.
func (c *Client) storesOf(def *llb.Definition) map[string]content.Store {
	c.mu.Lock()
	defer c.mu.Unlock()
	used := map[string]content.Store{}
	for _, raw := range def.Def {
		var op pb.Op
		if op.UnmarshalVT(raw) != nil {
			continue
		}
		if id := op.GetSource().GetAttrs()[pb.AttrOCILayoutStoreID]; c.stores[id] != nil {
			used[id] = c.stores[id]
		}
	}
	return used
}
