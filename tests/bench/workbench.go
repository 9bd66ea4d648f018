package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
)

// workbench is a factory apart: its own copy of the definitions, its own state.
type workbench struct {
	checkout string
	version  string // of the program that is measured, as it says itself
	work     string // removed at the end
	both     string // repository with every image
	one      string // repository with the subject only
	state    string
	address  string            // of the embedded registry
	archives map[string]string // id → URL
	rounds   int
	direct   string           // the program that calls Trivy's library
	made     []factory.RunJob // how each image came into the state, alone and for the first time
}

const (
	subject = "debian-12" // the image that is measured from its lock on
	other   = "debian-13"
)

func prepare(ctx context.Context, base string, rounds int) (*workbench, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("run as root: mmdebstrap and buildkitd need it")
	}
	checkout, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for _, program := range []string{"factory", "factory-scanner", "buildkitd"} {
		if _, err := os.Stat(filepath.Join(checkout, "bin", program)); err != nil {
			return nil, fmt.Errorf("run in the checkout, after make build: %w", err)
		}
	}
	b := &workbench{checkout: checkout, rounds: rounds}
	if b.work, err = os.MkdirTemp(base, "factory-bench-"); err != nil {
		return nil, err
	}
	say("working in %s", b.work)
	b.both, b.one, b.state = filepath.Join(b.work, "both"), filepath.Join(b.work, "one"), filepath.Join(b.work, ".factory-bench")
	err = errors.Join(b.copyRepository(), b.takeToolbox(), b.freePort(), b.readVersion(ctx), b.readArchives(ctx), b.buildDirect(ctx))
	if err != nil {
		_ = os.RemoveAll(b.work)
		return nil, err
	}
	return b, nil
}

// elsewhere are the images whose archives this machine need not know, and those that would be made together with what is measured.
var elsewhere = []string{"amazonlinux-2", "amazonlinux-2023", "rhel-9", "debian-12-python", "debian-12-static"}

// copyRepository copies what images are made of, once whole and once with the subject and the toolbox only.
func (b *workbench) copyRepository() error {
	var errs []error
	for _, dir := range []string{b.both, b.one} {
		for _, part := range []string{"baseimages", "ansible"} {
			errs = append(errs, os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(b.checkout, part))))
		}
		errs = append(errs, copyFile(filepath.Join(b.checkout, "CODEOWNERS"), filepath.Join(dir, "CODEOWNERS")))
	}
	// What is measured is the same wherever it is: images whose archives this machine happens to know would add to it.
	for dir, names := range map[string][]string{b.both: elsewhere, b.one: append([]string{other}, elsewhere...)} {
		for _, name := range names {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, "baseimages", name)),
				dropLines(filepath.Join(dir, "CODEOWNERS"), "/"+name+"/"), dropLines(filepath.Join(dir, "baseimages", "owners.yaml"), name+":"))
		}
	}
	return errors.Join(errs...)
}

// dropLines takes out of a file the lines that hold text.
func dropLines(file, text string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := slices.DeleteFunc(slices.Collect(bytes.Lines(content)), func(l []byte) bool { return bytes.Contains(l, []byte(text)) })
	return os.WriteFile(file, bytes.Join(lines, nil), 0o644)
}

// takeToolbox spares the minutes that the toolbox takes, where the checkout has one already. Nothing writes into its files.
func (b *workbench) takeToolbox() error {
	from, to := filepath.Join(b.checkout, ".factory", "toolbox"), filepath.Join(b.state, "toolbox")
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the first night makes one
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(dest, 0o755)
		case os.Link(p, dest) == nil:
			return nil
		}
		return copyFile(p, dest) // another file system
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (b *workbench) freePort() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.address = l.Addr().String()
	return l.Close()
}

// readVersion asks the factory which one it is, and says so when the checkout is another: figures are of a program, not of a checkout.
func (b *workbench) readVersion(ctx context.Context) error {
	ask := func(args ...string) (string, error) {
		var out bytes.Buffer
		_, err := (proc.Command{Args: args, Dir: b.checkout, Stdout: &out}).Run(ctx)
		return strings.TrimSpace(out.String()), err
	}
	var err error
	if b.version, err = ask(filepath.Join("bin", "factory"), "--version"); err != nil {
		return err
	}
	if here, err := ask("git", "describe", "--always", "--dirty"); err == nil && !strings.HasSuffix(b.version, " "+here) {
		say("bin/factory is %q and the checkout %q: make build, unless that is meant", b.version, here)
	}
	return nil
}

// readArchives asks the factory where the checkout gets its packages.
func (b *workbench) readArchives(ctx context.Context) error {
	var c struct {
		Archives map[string]struct{ Value string } `json:"archives"`
	}
	var out bytes.Buffer
	cmd := proc.Command{Args: []string{filepath.Join("bin", "factory"), "config", "--json"}, Dir: b.checkout, Stdout: &out}
	if _, err := cmd.Run(ctx); err != nil {
		return err
	}
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		return err
	}
	b.archives = map[string]string{}
	for id, archive := range c.Archives {
		b.archives[id] = archive.Value
	}
	return nil
}

// factory runs the program on one of the repositories and decodes what it prints.
func (b *workbench) factory(ctx context.Context, dir string, into any, args ...string) error {
	all := append([]string{filepath.Join(b.checkout, "bin", "factory")}, args...)
	all = append(all, "--json", "--progress=plain", "--dir="+dir, "--state="+b.state, "--registry=embedded", "--registry-addr="+b.address, "--vulnerabilities=archive")
	for _, id := range slices.Sorted(maps.Keys(b.archives)) {
		all = append(all, "--archive="+id+"="+b.archives[id])
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "FACTORY_") || strings.HasPrefix(e, "BUILDKIT_HOST=") // the caller's own factory
	})
	var out bytes.Buffer
	if _, err := (proc.Command{Args: all, Dir: b.work, Env: env, Stdout: &out}).Run(ctx); err != nil {
		return err
	}
	return json.Unmarshal(out.Bytes(), into)
}
