package upstream

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
)

// bootstrap runs mmdebstrap over exactly the packages of a lock.
type bootstrap struct {
	scratch string
	debs    fetcher
	conf    string // dpkg configuration
	suite   string // what the packages are called as a suite; empty = "stable"
	epoch   time.Time
	note    func(string)
}

// apart gives mmdebstrap mounts and processes of its own: when it is killed, the kernel removes both. It mounts this
// machine's devices into the new root, and removing that with them mounted would remove the devices.
var apart = []string{"unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"}

// run returns the path of the root filesystem's tar.
func (b bootstrap) run(ctx context.Context, img factory.Image, pkgs []factory.Package) (string, error) {
	if os.Geteuid() != 0 {
		return "", &factory.Problem{Kind: factory.ErrInvalid, What: img.Name + ": only root can make the toolbox on this machine", Hint: "run it as root once; later runs take it from the cache"}
	}
	b.suite = cmp.Or(b.suite, "stable")
	repo := filepath.Join(b.scratch, "repo")
	if err := b.repository(ctx, repo, pkgs); err != nil {
		return "", err
	}
	out := filepath.Join(b.scratch, "root.tar")
	args := slices.Concat(apart, []string{"mmdebstrap", "--mode=root", "--variant=essential", "--format=tar", "--skip=output/dev", "--dpkgopt=force-unsafe-io", "--include=" + include(pkgs)})
	for line := range strings.Lines(b.conf) {
		args = append(args, "--dpkgopt="+strings.TrimSpace(line))
	}
	args = append(args, b.suite, out, "deb [trusted=yes] copy:"+repo+" ./")
	log := &noteWriter{note: b.note}
	_, err := proc.Command{Args: args, Stdout: log, Stderr: log, Env: slices.Concat(hostEnv, []string{
		"HOME=/root", "TMPDIR=" + b.scratch, "SOURCE_DATE_EPOCH=" + strconv.FormatInt(b.epoch.Unix(), 10), "PYTHONHASHSEED=0",
	})}.Run(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: mmdebstrap: %w\n%s", img.Name, err, bytes.Join(log.last, []byte("\n")))
	}
	return out, nil
}

// noteWriter passes on what mmdebstrap says about its phases, and drops dpkg's chatter.
type noteWriter struct {
	note func(string)
	rest []byte
	last [][]byte // lines, for an error
}

func (w *noteWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if text, ok := bytes.CutPrefix(line, []byte("I: ")); ok && len(text) < 200 {
			w.note(string(text))
		}
		w.last = append(w.last, bytes.Clone(line[:min(len(line), 400)]))
		w.last = w.last[max(0, len(w.last)-15):]
		w.rest = rest
	}
}

// include names every package. The repository has one version of each and nothing else.
func include(pkgs []factory.Package) string {
	names := make([]string, len(pkgs))
	for i, p := range pkgs {
		names[i] = p.Name
	}
	return strings.Join(names, ",")
}

// repository lays out the packages as an archive that needs no signature: each was checked against the lock.
func (b bootstrap) repository(ctx context.Context, dir string, pkgs []factory.Package) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	stanzas := make([][]byte, len(pkgs))
	errs := make([]error, len(pkgs))
	slots := make(chan struct{}, runtime.NumCPU())
	var all sync.WaitGroup
	for i, p := range pkgs {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			stanzas[i], errs[i] = b.stanza(ctx, dir, p)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	index := bytes.Join(stanzas, []byte("\n"))
	// mmdebstrap finds the essential packages by the suite's name.
	release := fmt.Sprintf("Suite: %s\nCodename: %s\nDate: %s\nSHA256:\n %s %d Packages\n", b.suite, b.suite,
		b.epoch.UTC().Format(time.RFC1123), factory.DigestOf(index).Hex(), len(index))
	return errors.Join(os.WriteFile(filepath.Join(dir, "Packages"), index, 0o644), os.WriteFile(filepath.Join(dir, "Release"), []byte(release), 0o644))
}

func (b bootstrap) stanza(ctx context.Context, dir string, p factory.Package) ([]byte, error) {
	deb, err := filepath.Abs(b.debs.path(p))
	if err != nil {
		return nil, err
	}
	// The cache may have rotted since it was filled.
	sum, err := fileDigest(deb)
	if err != nil {
		return nil, err
	}
	if sum != p.SHA256 {
		return nil, errors.Join(b.debs.problem(factory.ErrUnverified, p, fmt.Errorf("the cached file has the checksum %s", sum)), os.Remove(deb))
	}
	var control bytes.Buffer
	if _, err := (proc.Command{Args: []string{"dpkg-deb", "-f", deb}, Env: hostEnv, Stdout: &control}).Run(ctx); err != nil {
		return nil, fmt.Errorf("package %s: %w", p.Name, err)
	}
	if err := os.Symlink(deb, filepath.Join(dir, debName(p))); err != nil {
		return nil, err
	}
	return fmt.Appendf(bytes.TrimRight(control.Bytes(), "\n"), "\nFilename: ./%s\nSize: %d\nSHA256: %s\n", debName(p), p.Size, p.SHA256.Hex()), nil
}

// dpkgConf is what dpkg is told to leave out, here and later.
func dpkgConf(p factory.Packages) string {
	var b strings.Builder
	for _, glob := range p.OmitPaths {
		fmt.Fprintf(&b, "path-exclude=%s\n", glob)
	}
	for _, glob := range p.KeepPaths {
		fmt.Fprintf(&b, "path-include=%s\n", glob)
	}
	return b.String()
}

// packRoot turns mmdebstrap's tar into an OCI layout and checks that it has the lock's packages, no more and no less.
func packRoot(dir string, p factory.Platform, epoch time.Time, rootfs, conf string, pkgs []factory.Package) (factory.Digest, error) {
	f, err := os.Open(rootfs)
	if err != nil {
		return "", err
	}
	defer f.Close()
	status, err := tarFile(f, "var/lib/dpkg/status")
	if err != nil {
		return "", err
	}
	if err := sameInstalled(status, pkgs); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return writeLayout(dir, p, epoch, env, func(w io.Writer) error { return normalise(w, f, epoch, toolboxExtras(conf)) })
}

func tarFile(r io.Reader, name string) ([]byte, error) {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err != nil {
			return nil, fmt.Errorf("root filesystem: %s: %w", name, err)
		}
		if strings.TrimPrefix(h.Name, "./") == name {
			return io.ReadAll(tr)
		}
	}
}

func sameInstalled(status []byte, pkgs []factory.Package) error {
	want := map[string]bool{}
	for _, p := range pkgs {
		want[p.Name+" "+p.Version] = true
	}
	var name string
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Package":
			name = value
		case "Version":
			if !want[name+" "+value] {
				return fmt.Errorf("root filesystem: %s %s is not in the lock", name, value)
			}
			delete(want, name+" "+value)
		case "Status":
			if value != "install ok installed" {
				return fmt.Errorf("root filesystem: %s is %q", name, value)
			}
		}
	}
	for left := range want {
		return fmt.Errorf("root filesystem: %s was not installed", left)
	}
	return nil
}
