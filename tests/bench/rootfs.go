package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/buildkit"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/proc"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

const (
	share  = 1.0 / 3    // of mmdebstrap's time
	memory = "/dev/shm" // where Linux keeps files in memory
)

// rootfs compares a root filesystem made of fetched packages with mmdebstrap's. Neither writes an archive of it.
func (b *workbench) rootfs(ctx context.Context) ([]row, error) {
	set, err := definition.Load(b.both)
	if err != nil {
		return nil, err
	}
	img, err := set.Image(subject)
	if err != nil {
		return nil, err
	}
	lock, _, err := definition.ReadLock(b.both, subject)
	if err != nil {
		return nil, err
	}
	ours, err := b.ours(ctx, set, img, lock)
	if err != nil {
		return nil, err
	}
	m := mmdebstrap{workbench: b, image: img, debs: filepath.Join(b.work, "debs")}
	if err := os.Mkdir(m.debs, 0o755); err != nil {
		return nil, err
	}
	say("fetching the packages for mmdebstrap")
	if err := m.run(ctx, memory, "sync-out /var/cache/apt/archives "+m.debs); err != nil {
		return nil, err
	}
	var rows []row
	for _, place := range []struct{ name, dir string }{{"on disk", b.work}, {"in memory", memory}} {
		theirs, err := b.fastest("mmdebstrap "+place.name, func() error { return m.run(ctx, place.dir, "") })
		if err != nil {
			return nil, err
		}
		ratio := ours.Seconds() / theirs.Seconds()
		rows = append(rows, row{What: "root filesystem, mmdebstrap " + place.name, Measured: seconds(ours), Against: seconds(theirs),
			Target: fmt.Sprintf("%.2f ≤ %.2f", ratio, share), Met: ratio <= share})
	}
	rows[0].Notes = []string{fmt.Sprintf("%d packages here, %d of mmdebstrap --variant=minbase with the same wishes; packages were fetched before by both",
		len(lock.For(img.Platforms[0])), m.packages)}
	return rows, nil
}

// ours builds with nothing cached but the packages, and the toolbox in place.
func (b *workbench) ours(ctx context.Context, set definition.Set, img factory.Image, lock factory.Lock) (best time.Duration, err error) {
	client := &buildkit.Client{Archives: b.archives, Daemon: &buildkit.Daemon{Beside: filepath.Join(b.checkout, "bin"), Dir: filepath.Join(b.state, "buildkit")}}
	defer func() { _ = client.Close() }()
	box, err := set.Image("toolbox")
	if err != nil {
		return 0, err
	}
	boxLock, _, err := definition.ReadLock(b.both, box.Name)
	if err != nil {
		return 0, err
	}
	layout, digest, err := upstream.Toolbox{Dir: filepath.Join(b.state, "toolbox"), Archives: b.archives}.Ensure(ctx, box, boxLock)
	if err != nil {
		return 0, err
	}
	if err := client.UseToolbox(layout, digest); err != nil {
		return 0, err
	}
	locked := factory.Locked{Job: factory.Job{Image: img}, Lock: lock}
	if _, err := client.Build(ctx, locked); err != nil { // the daemon is up, packages and toolbox are there
		return 0, err
	}
	n := 0
	return b.fastest("root filesystem of "+img.Name, func() error {
		n++
		locked.Fresh = strconv.Itoa(n)
		_, err := client.Build(ctx, locked)
		return err
	})
}

// mmdebstrap makes the nearest thing to an image with the program that everybody has.
type mmdebstrap struct {
	*workbench
	image    factory.Image
	debs     string // packages that were fetched
	packages int    // in the last root
}

// run makes a root filesystem in tmp and throws it away. Without a last hook it starts from the fetched packages.
func (m *mmdebstrap) run(ctx context.Context, tmp, last string) error {
	status := filepath.Join(m.work, "status")
	args := []string{"mmdebstrap", "--quiet", "--variant=minbase", "--format=null", "--include=" + strings.Join(m.image.Packages.Include, ","),
		"--skip=essential/unlink", "--skip=cleanup/apt", "--customize-hook=download /var/lib/dpkg/status " + status}
	for _, glob := range m.image.Packages.OmitPaths {
		args = append(args, "--dpkgopt=path-exclude="+glob)
	}
	for _, glob := range m.image.Packages.KeepPaths {
		args = append(args, "--dpkgopt=path-include="+glob)
	}
	if last == "" {
		args = append(args, `--setup-hook=mkdir -p "$1/var/cache/apt/archives"`, "--setup-hook=sync-in "+m.debs+" /var/cache/apt/archives")
	} else {
		args = append(args, "--customize-hook="+last)
	}
	args = append(args, m.image.Distro.Codename, "-")
	for _, a := range m.image.Archives {
		args = append(args, fmt.Sprintf("deb %s %s %s", m.archives[a.ID], a.Suite, strings.Join(a.Components, " ")))
	}
	if _, err := (proc.Command{Args: args, Set: []string{"TMPDIR=" + tmp}}).Run(ctx); err != nil {
		return err
	}
	b, err := os.ReadFile(status)
	m.packages = bytes.Count(b, []byte("\nStatus: install ok installed\n"))
	return err
}
