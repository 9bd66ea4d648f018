package buildkit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
	digest "github.com/opencontainers/go-digest"

	"github.com/imagefactory/imagefactory/factory"
)

// maker makes a root filesystem of fetched packages; there is one for each package format.
type maker struct {
	file    string   // where packages are mounted, with their number
	scripts [][]byte // what it runs, all that decides its bytes
	root    func(b batch) (llb.State, error)
}

// batch is what one root filesystem is made of.
type batch struct {
	factory.Locked
	platform factory.Platform
	packages []factory.Package
	files    []string        // where each package is mounted
	mounts   []llb.RunOption // which mount them
	toolbox  llb.State
	parent   *llb.State // the root that packages are added to; nil = an empty one
}

func (b batch) title() string { return b.Job.Image.Name + " " + b.platform.String() }

var makers = map[factory.Format]maker{
	factory.Deb: {"/.debs/%04d.deb", [][]byte{unpackScript, configureScript}, batch.debian},
	factory.RPM: {"/.rpms/%04d.rpm", [][]byte{installScript, rootScript, databaseScript}, batch.rpm},
}

// Recipe is the digest of how this package makes a root out of packages of a format. It belongs into every lock: another
// recipe may make other bytes of the same packages.
func Recipe(f factory.Format) factory.Digest {
	return factory.DigestOf(slices.Concat(makers[f].scripts...))
}

const (
	fetchPrefix   = "fetch "
	installPrefix = "install "
	// How install_rpm.py says that the packages do not fit together, or that one is not what it should be.
	exitUnfit      = 2
	exitUnverified = 5
	exitAccount    = 6
)

// Build makes the root filesystem of every platform from the lock's packages and nothing else.
func (c *Client) Build(ctx context.Context, l factory.Locked) (factory.Built, error) {
	built := factory.Built{Locked: l}
	for _, lp := range l.Lock.Platforms {
		root, config, err := c.buildPlatform(ctx, l, lp)
		if err != nil {
			return built, fmt.Errorf("%s: %w", lp.Platform, err)
		}
		if l.Job.Image.From != "" {
			if built.Configs == nil {
				built.Configs = map[factory.Platform]factory.Config{}
			}
			built.Configs[lp.Platform] = config
		}
		built.Roots = append(built.Roots, root)
	}
	return built, nil
}

func (c *Client) buildPlatform(ctx context.Context, l factory.Locked, lp factory.LockedPlatform) (root factory.Root, config factory.Config, err error) {
	config = l.Job.Image.Config
	if err := c.canBuild(ctx, lp.Platform); err != nil {
		return root, config, err
	}
	st, fetched := llb.State{}, lp.Packages
	if l.Job.Image.From == "" {
		st, err = c.rootfs(l, lp)
	} else {
		st, fetched, config, err = c.childOf(ctx, l, lp)
	}
	if err != nil {
		return root, config, err
	}
	def, err := st.Marshal(ctx, llb.Platform(ociPlatform(lp.Platform)))
	if err != nil {
		return root, config, err
	}
	w := newWatch(c.Events, l.Job.Image.Name, factory.StepBuild)
	for _, p := range fetched {
		w.total += p.Size
	}
	if err := c.solve(ctx, def, w); err != nil {
		err = stepFailed(c.errorPage(ctx, fetched, err))
		var p *factory.Problem
		if errors.As(err, &p) && p.Kind == factory.ErrInvalid && p.Where.Line == 0 {
			p.Where = l.Job.Image.Where
		}
		return root, config, err
	}
	root, err = marshal(ctx, st, lp.Platform)
	return root, config, err
}

// stepFailed makes a command's failure a problem for a person.
func stepFailed(err error) error {
	var exit *stepError
	if !errors.As(err, &exit) {
		return err
	}
	if strings.HasPrefix(exit.name, installPrefix) && exit.exit == exitUnverified {
		return &factory.Problem{Kind: factory.ErrUnverified, What: exit.name + ": " + lastLine([]byte(exit.tail)), Hint: "the archive or a proxy on the way changed it; tell the archive's owner if it stays"}
	}
	if strings.HasPrefix(exit.name, cutPrefix) && exit.exit == exitUnfit {
		return &factory.Problem{Kind: factory.ErrInvalid, What: exit.name + ": " + lastLine([]byte(exit.tail)), Hint: "see only: in its image.yaml"}
	}
	if strings.HasPrefix(exit.name, installPrefix) && exit.exit == exitAccount {
		return &factory.Problem{Kind: factory.ErrInvalid, What: exit.name + ": " + lastLine([]byte(exit.tail)), Hint: "see users: in its image.yaml"}
	}
	if strings.HasPrefix(exit.name, installPrefix) && exit.exit == exitUnfit {
		return &factory.Problem{Kind: factory.ErrInvalid, What: exit.name + ": " + lastLine([]byte(exit.tail)), Hint: "make a new lock: factory lock"}
	}
	p := &factory.Problem{What: fmt.Sprintf("%s: exit %d", exit.name, exit.exit), Cause: errors.New(exit.tail), Hint: "the lines above are those of the packages' own scripts"}
	if strings.HasPrefix(exit.name, "[") { // as the frontend names what a Dockerfile says
		p.Kind, p.Hint = factory.ErrInvalid, "the command is the Dockerfile's; it has no network"
	}
	if strings.Contains(exit.tail, "No space left on device") {
		p.Kind, p.Hint = factory.ErrUnavailable, "free space in the state directory"
	}
	return p
}

// canBuild refuses a platform that the build service cannot run.
func (c *Client) canBuild(ctx context.Context, p factory.Platform) error {
	if _, err := c.connect(ctx); err != nil {
		return err
	}
	if slices.Contains(c.workers, p) {
		return nil
	}
	var have []string
	for _, w := range c.workers {
		if s := w.String(); !slices.Contains(have, s) {
			have = append(have, s)
		}
	}
	return &factory.Problem{Kind: factory.ErrUnavailable,
		What: fmt.Sprintf("this build service cannot run %s, only %s", p, strings.Join(have, ", ")),
		Hint: "install emulation on its host (apt-get install qemu-user-static binfmt-support) and restart it, or take the platform out of the definition"}
}

// rootfs describes the filesystem: fetch, and what the format makes of it.
func (c *Client) rootfs(l factory.Locked, lp factory.LockedPlatform) (llb.State, error) {
	distro := l.Job.Image.Distro
	m, ok := makers[distro.Format()]
	if !ok {
		return llb.State{}, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("distribution family %.40q is not known here", distro.Family), Where: l.Job.Image.Where}
	}
	box, err := c.Toolbox()
	if err != nil {
		return llb.State{}, err
	}
	b := batch{Locked: l, platform: lp.Platform, packages: lp.Packages}
	if b.toolbox, err = unmarshal(box); err != nil {
		return llb.State{}, err
	}
	if err := b.fetch(c, m); err != nil {
		return llb.State{}, err
	}
	return m.root(b)
}

// fetch says where each package is mounted.
func (b *batch) fetch(c *Client, m maker) error {
	for i, p := range b.packages {
		src, file, err := c.source(b.toolbox, p)
		if err != nil {
			return err
		}
		at := fmt.Sprintf(m.file, i)
		b.files = append(b.files, at)
		b.mounts = append(b.mounts, llb.AddMount(at, src, llb.SourcePath(file), llb.Readonly))
	}
	return nil
}

// script runs a Python script in the toolbox, without network, on the packages and the files given; the target is empty at
// first.
func (b batch) script(name string, files map[string]factory.File, more ...llb.RunOption) llb.ExecState {
	if b.Fresh != "" {
		files[ownDir+"/nonce"] = factory.File{Data: []byte(b.Fresh)}
	}
	opts := append([]llb.RunOption{
		llb.Args([]string{"/usr/bin/python3", "-s", ownDir + "/" + name, ownDir + "/plan.json", factory.TargetMount}),
		llb.Network(llb.NetModeNone),
		llb.AddEnv("PYTHONDONTWRITEBYTECODE", "1"),
		llb.AddMount("/tmp", llb.Scratch(), llb.Tmpfs()),
	}, more...)
	opts = append(opts, b.mounts...)
	return b.toolbox.Run(append(opts, mountFiles(files)...)...)
}

// label names a package for people.
func label(p factory.Package) string {
	return fmt.Sprintf("%s %s from archive %s", p.Name, p.Version, p.Archive)
}

// url is where a package is; empty when its archive has no URL.
func (c *Client) url(p factory.Package) string {
	base := c.Archives[p.Archive]
	if base == "" {
		return ""
	}
	return strings.TrimSuffix(base, "/") + "/" + p.Path
}

// source is one package as a checksummed download.
func (c *Client) source(box llb.State, p factory.Package) (llb.State, string, error) {
	at := c.url(p)
	if at == "" {
		return llb.State{}, "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("archive %q has no URL", p.Archive),
			Hint: "set archives." + p.Archive + " in factory.yaml"}
	}
	if e := c.Entitlements[p.Archive]; e != (factory.Entitlement{}) {
		return c.entitled(box, p, at, e)
	}
	file := path.Base(p.Path)
	return llb.HTTP(at, llb.Checksum(digest.Digest(p.SHA256)), llb.Filename(file), llb.WithCustomName(fetchPrefix+label(p))), file, nil
}
