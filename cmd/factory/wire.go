package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/accept"
	"github.com/imagefactory/imagefactory/factory/ansible"
	"github.com/imagefactory/imagefactory/factory/buildkit"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/git"
	"github.com/imagefactory/imagefactory/factory/oci"
	"github.com/imagefactory/imagefactory/factory/openscap"
	"github.com/imagefactory/imagefactory/factory/pipeline"
	"github.com/imagefactory/imagefactory/factory/progress"
	"github.com/imagefactory/imagefactory/factory/registry"
	"github.com/imagefactory/imagefactory/factory/scanner"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// app is the program as a value: its configuration, and its adapters, each made on first use.
type app struct {
	cfg      *config
	w        world
	renderer *progress.Renderer
	events   factory.Events
	began    time.Time   // of this invocation: it dates what a run makes, also past midnight
	ran      factory.Run // the run that this invocation recorded, if it did
	cause    string      // the trigger of ours that asked for this invocation; empty = none

	following following
	post      *courier    // of the run under way
	shown     atomic.Bool // results were printed, so no progress is shown any more

	mu      sync.Mutex
	db      *store.Store
	builder *buildkit.Client
	box     *factory.Digest
	running *registry.Running
	parents *registry.Parents

	deciding sync.Mutex // held while the vulnerability data of this run is decided
	scanners []*scanner.Client
	data     *factory.Database // nil = not decided yet
	dataDir  string
	opened   bool  // data is open in scanners
	noData   error // why none is
}

func newApp(cfg *config, w world) *app {
	r := newRenderer(cfg, w)
	a := &app{cfg: cfg, w: w, renderer: r, began: w.Now()}
	show := r.Events()
	a.events = func(e factory.Event) {
		if e.Time.IsZero() {
			e.Time = w.Now()
		}
		show(e)
	}
	return a
}

// line is the production line, wired. Read it next to pipeline.Line.Make.
func (c *command) line(ctx context.Context, run string) (pipeline.Line, error) {
	a := c.app
	db, err := a.store(ctx)
	if err != nil {
		return pipeline.Line{}, err
	}
	if err := a.serveRegistry(ctx); err != nil {
		return pipeline.Line{}, err
	}
	s, err := a.signing(ctx, run)
	if err != nil {
		return pipeline.Line{}, err
	}
	bk := a.build()
	return pipeline.Line{
		Resolver:   resolver{a},
		Builder:    pulling{patient{bk, a}, a},
		Hardener:   a.hardener(),
		Packer:     oci.Packer{Exporter: bk, Dir: a.workDir(), Parents: a.parentDir(), Read: &oci.ParentCache{}, Events: a.events},
		Tester:     accept.Tester{Runner: bk, Opener: bk, Events: a.events},
		Prover:     openscap.Prover{Runner: bk, Events: a.events, Contents: &openscap.Contents{}},
		Scanner:    scanning{c},
		Gate:       gating{c},
		Signer:     s.signer,
		Attacher:   s.signer,
		Publisher:  a.registry(),
		Verifier:   s,
		Recorder:   recording{db, a.post},
		Repository: a.repository,
		Cause:      a.cause,
		NewID:      a.newID,
		Now:        a.w.Now,
		Cleanup:    func(art factory.Artifact) { _ = os.RemoveAll(art.Layout) },
		Events:     a.events,
	}, nil
}

// inside looks at what a child puts into itself: whether its Dockerfile can be built, and which of its files hardening writes anew.
func (a *app) inside(img factory.Image) (warnings []*factory.Problem, err error) {
	if img.Dockerfile != "" {
		text, err := a.ownFile(img, img.Dockerfile)
		if err != nil {
			return nil, err
		}
		return nil, buildkit.CheckDockerfile(img, text)
	}
	if len(img.Files) == 0 {
		return nil, nil
	}
	inputs, _, err := definition.Pack(a.cfg.Dir, img)
	if err != nil {
		return nil, err
	}
	return ansible.Replaced(inputs, img, factory.DateOf(a.w.Now()))
}

// ownFile reads a file of an image's folder, and nothing that a link has elsewhere.
func (a *app) ownFile(img factory.Image, name string) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Join(a.cfg.Dir, "baseimages", img.Name))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(name)
}

func (a *app) hardener() ansible.Hardener {
	return ansible.Hardener{Runner: a.build(), Now: a.w.Now, Events: a.events}
}

// patient tries a build again when the archive or the build service was not there for a moment.
type patient struct {
	pipeline.Builder
	app *app
}

func (p patient) Build(ctx context.Context, l factory.Locked) (factory.Built, error) {
	for wait := 2 * time.Second; ; wait *= 3 {
		built, err := p.Builder.Build(ctx, l)
		if err == nil || !errors.Is(err, factory.ErrUnavailable) || wait > 20*time.Second {
			return built, err
		}
		p.app.events.Emit(factory.Event{Kind: factory.Warned, Image: l.Job.Image.Name, Step: factory.StepBuild,
			Message: fmt.Sprintf("%v; trying again in %s", err, wait)})
		select {
		case <-ctx.Done():
			return built, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// pulling makes sure, before a child is built, that the release that it is built on is on this machine.
type pulling struct {
	pipeline.Builder
	app *app
}

func (p pulling) Build(ctx context.Context, l factory.Locked) (factory.Built, error) {
	if base := l.Job.Parent; l.Job.Image.From != "" && base != nil {
		if _, err := p.app.pulled().Pull(ctx, *base); err != nil {
			return factory.Built{}, err
		}
	}
	return p.Builder.Build(ctx, l)
}

// parentDir holds releases that children are built on.
func (a *app) parentDir() string { return filepath.Join(a.cfg.State, "parents") }

// unusedParents is how long a release stays in parentDir that nothing is built on any more.
const unusedParents = 7 * 24 * time.Hour

func (a *app) pulled() *registry.Parents {
	client := a.registry()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.parents == nil {
		a.parents = &registry.Parents{Dir: a.parentDir(), Client: client, Now: a.w.Now}
	}
	return a.parents
}

// workDir holds images between pack and publish.
func (a *app) workDir() string { return filepath.Join(a.cfg.State, "work") }

func (a *app) repository(image string) string { return a.cfg.Registry + "/" + image }

func (a *app) store(ctx context.Context) (*store.Store, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.db != nil {
		return a.db, nil
	}
	if a.cfg.values["database"].Origin == "default" && a.cfg.values["state"].Origin == "default" {
		if _, err := os.Stat(filepath.Join(a.cfg.Dir, "baseimages")); err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "no baseimages/ in " + a.cfg.Dir + " or above", Hint: "run in the repository, or name it: --dir DIR"}
		}
	}
	db, err := store.Open(ctx, a.cfg.Database, store.Options{Now: a.w.Now, Alive: alive})
	if a.db = db; db != nil {
		db.Follow = a.follow
	}
	return db, err
}

// alive reports whether a process of this host exists.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// build is the build service; it starts on first use.
func (a *app) build() *buildkit.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.builder == nil {
		beside := ""
		if exe, err := os.Executable(); err == nil {
			beside = filepath.Dir(exe)
		}
		a.builder = &buildkit.Client{
			Addr:     a.cfg.Buildkit,
			Daemon:   &buildkit.Daemon{Beside: beside, Dir: filepath.Join(a.cfg.State, "buildkit"), CacheBytes: a.cfg.BuildkitCache, Env: a.environment(), Events: a.events},
			Archives: a.cfg.Archives, Entitlements: a.cfg.Entitlements, Parents: a.parentDir(), Nonce: a.newID, Events: a.events,
		}
	}
	return a.builder
}

// toolbox makes sure that the toolbox exists, and that steps use it. It returns its digest.
func (a *app) toolbox(ctx context.Context, img factory.Image, lock factory.Lock) (factory.Digest, error) {
	bk := a.build()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.box != nil && (lock.Digest == "" || *a.box == lock.Digest) {
		return *a.box, nil
	}
	layout, digest, err := a.toolboxes().Ensure(ctx, img, lock)
	if err != nil {
		return "", fmt.Errorf("toolbox: %w", err)
	}
	a.box = &digest
	return digest, bk.UseToolbox(layout, digest)
}

// toolboxes are those that this machine has made.
func (a *app) toolboxes() upstream.Toolbox {
	return upstream.Toolbox{Dir: filepath.Join(a.cfg.State, "toolbox"), Archives: a.cfg.Archives, Events: a.events}
}

// registry is the client of whatever registry is configured.
func (a *app) registry() *registry.Client {
	c := &registry.Client{Events: a.events, Retry: registry.Retry{Events: a.events}}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running != nil {
		c.Transport = a.running.Transport(nil) // takes over when the process that serves it ends
	}
	return c
}

// serveRegistry starts the embedded registry, when that is the one in use and no other factory serves it already.
func (a *app) serveRegistry(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.cfg.Embedded || a.running != nil {
		return nil
	}
	var err error
	a.running, err = a.registryServer().Start(ctx)
	return err
}

func (a *app) registryServer() *registry.Server {
	return &registry.Server{Dir: filepath.Join(a.cfg.State, "registry"), Addr: a.cfg.Addr}
}

// environment is what programs of the build see of ours: enough to run and to reach the archives, and no secret.
func (a *app) environment() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v, ok := a.w.Env(key); ok {
			env = append(env, key+"="+v)
		}
	}
	return env
}

// git is the repository that holds the definitions.
func (a *app) git() git.Repo {
	return git.Repo{Dir: a.cfg.Dir, Skip: definition.Leftover, Name: "image factory", Email: "factory@localhost"}
}

// newID returns a new id that sorts by time: 20261123-072600-1a2b3c.
func (a *app) newID() string {
	var b [3]byte
	_, _ = rand.Read(b[:])
	return a.w.Now().UTC().Format("20060102-150405-") + hex.EncodeToString(b[:])
}

// close ends everything that was started, and shows what is left to show.
func (a *app) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	if a.builder != nil {
		errs = append(errs, a.builder.Close())
	}
	for _, s := range a.scanners {
		errs = append(errs, s.Close())
	}
	if a.running != nil {
		errs = append(errs, a.running.Close())
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	errs = append(errs, a.renderer.Close())
	return errors.Join(errs...)
}

// hostArchives reads the archives that this machine's own apt uses.
func hostArchives() (map[string]string, error) { return upstream.HostArchives(os.DirFS("/")) }
