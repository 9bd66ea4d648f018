package buildkit

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
	digest "github.com/opencontainers/go-digest"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	// unpackScript extracts the packages and writes dpkg's database from their control archives: what dpkg --unpack
	// does, in a fifth of its time, because nothing is synced to disk file by file.
	//
	//go:embed scripts/unpack.py
	unpackScript []byte
	// configureScript runs the packages' own scripts inside the target.
	//
	//go:embed scripts/configure.sh
	configureScript []byte
)

// Recipe is the digest of how this package makes a root out of packages. It belongs into every lock: another recipe may
// make other bytes of the same packages.
func Recipe() factory.Digest {
	return factory.DigestOf(slices.Concat(unpackScript, configureScript))
}

const fetchPrefix = "fetch "

// unpackPlan is what unpack.py reads.
type unpackPlan struct {
	Arch      string          `json:"arch"`
	Packages  []unpackPackage `json:"packages"`
	OmitPaths []string        `json:"omitPaths"`
	KeepPaths []string        `json:"keepPaths"`
}

type unpackPackage struct {
	Name string `json:"name"`
	Arch string `json:"arch"`
	File string `json:"file"`
}

// Build makes the root filesystem of every platform from the lock's packages and nothing else.
func (c *Client) Build(ctx context.Context, l factory.Locked) (factory.Built, error) {
	built := factory.Built{Locked: l}
	for _, lp := range l.Lock.Platforms {
		root, err := c.buildPlatform(ctx, l, lp)
		if err != nil {
			return built, fmt.Errorf("%s: %w", lp.Platform, err)
		}
		built.Roots = append(built.Roots, root)
	}
	return built, nil
}

func (c *Client) buildPlatform(ctx context.Context, l factory.Locked, lp factory.LockedPlatform) (factory.Root, error) {
	if err := c.canBuild(ctx, lp.Platform); err != nil {
		return factory.Root{}, err
	}
	st, err := c.rootfs(l, lp)
	if err != nil {
		return factory.Root{}, err
	}
	def, err := st.Marshal(ctx, llb.Platform(ociPlatform(lp.Platform)))
	if err != nil {
		return factory.Root{}, err
	}
	w := &watch{events: c.Events, image: l.Job.Image.Name, step: factory.StepBuild}
	for _, p := range lp.Packages {
		w.total += p.Size
	}
	if err := c.solve(ctx, def, w); err != nil {
		return factory.Root{}, stepFailed(c.errorPage(ctx, lp.Packages, err))
	}
	return marshal(ctx, st, lp.Platform)
}

// stepFailed makes a command's failure a problem for a person.
func stepFailed(err error) error {
	var exit *stepError
	if !errors.As(err, &exit) {
		return err
	}
	p := &factory.Problem{What: fmt.Sprintf("%s: exit %d", exit.name, exit.exit), Cause: errors.New(exit.tail), Hint: "the lines above are those of the packages' own scripts"}
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

// rootfs describes the filesystem: fetch, unpack, configure.
func (c *Client) rootfs(l factory.Locked, lp factory.LockedPlatform) (llb.State, error) {
	box, err := c.Toolbox()
	if err != nil {
		return llb.State{}, err
	}
	boxState, err := unmarshal(box)
	if err != nil {
		return llb.State{}, err
	}
	img := l.Job.Image
	plan := unpackPlan{Arch: lp.Platform.Architecture, OmitPaths: img.Packages.OmitPaths, KeepPaths: img.Packages.KeepPaths}
	title := img.Name + " " + lp.Platform.String()
	opts := []llb.RunOption{
		llb.Args([]string{"/usr/bin/python3", "-s", ownDir + "/unpack.py", ownDir + "/plan.json", "/target"}),
		llb.Network(llb.NetModeNone), llb.WithCustomName("unpack " + title),
		llb.AddEnv("PYTHONDONTWRITEBYTECODE", "1"),
		llb.AddMount("/tmp", llb.Scratch(), llb.Tmpfs()),
	}
	for i, p := range lp.Packages {
		src, file, err := c.source(p)
		if err != nil {
			return llb.State{}, err
		}
		at := fmt.Sprintf("/.debs/%04d.deb", i)
		opts = append(opts, llb.AddMount(at, src, llb.SourcePath(file), llb.Readonly))
		plan.Packages = append(plan.Packages, unpackPackage{Name: p.Name, Arch: p.Arch, File: at})
	}
	planJSON, err := json.Marshal(plan)
	if err != nil {
		return llb.State{}, err
	}
	files := map[string]factory.File{ownDir + "/unpack.py": {Data: unpackScript}, ownDir + "/plan.json": {Data: planJSON}}
	if l.Fresh != "" {
		files[ownDir+"/nonce"] = factory.File{Data: []byte(l.Fresh)}
	}
	opts = append(opts, mountFiles(files)...)
	unpack := boxState.Run(opts...)
	return c.configure(unpack.AddMount("/target", llb.Scratch()), l, lp.Platform), nil
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
func (c *Client) source(p factory.Package) (llb.State, string, error) {
	at := c.url(p)
	if at == "" {
		return llb.State{}, "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("archive %q has no URL", p.Archive),
			Hint: "set archives." + p.Archive + " in factory.yaml"}
	}
	file := path.Base(p.Path)
	return llb.HTTP(at, llb.Checksum(digest.Digest(p.SHA256)), llb.Filename(file), llb.WithCustomName(fetchPrefix+label(p))), file, nil
}

// configure runs the maintainer scripts in the target and makes its accounts.
func (c *Client) configure(target llb.State, l factory.Locked, p factory.Platform) llb.State {
	var users strings.Builder
	for _, u := range l.Job.Image.Users {
		fmt.Fprintf(&users, "%s\t%d\t%d\t%s\t%s\n", u.Name, u.UID, u.GID, u.Home, u.Shell)
	}
	opts := []llb.RunOption{
		llb.Args([]string{"/bin/sh", ownDir + "/configure.sh"}), llb.Network(llb.NetModeNone),
		llb.WithCustomName("configure " + l.Job.Image.Name + " " + p.String()),
		llb.AddEnv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		llb.AddEnv("HOME", "/root"), llb.AddEnv("LC_ALL", "C.UTF-8"),
		llb.AddEnv("DEBIAN_FRONTEND", "noninteractive"), llb.AddEnv("DEBCONF_NONINTERACTIVE_SEEN", "true"),
		llb.AddEnv("SOURCE_DATE_EPOCH", fmt.Sprint(l.Lock.Timestamp.Unix())),
		llb.AddMount("/tmp", llb.Scratch(), llb.Tmpfs()), llb.AddMount("/run", llb.Scratch(), llb.Tmpfs()),
	}
	opts = append(opts, mountFiles(map[string]factory.File{
		ownDir + "/configure.sh": {Data: configureScript}, ownDir + "/users": {Data: []byte(users.String())}})...)
	return target.Platform(ociPlatform(p)).Run(opts...).Root()
}
