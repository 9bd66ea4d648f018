package standin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// describe writes the repository's metadata anew: primary, filelists and other by createrepo_c, updateinfo and modules by
// modifyrepo_c, the signature.
func (a *Archive) describe(repo *repository) error {
	work, err := os.MkdirTemp("", "standin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := a.createrepo(repo, work); err != nil {
		return err
	}
	repodata := filepath.Join(work, "repodata")
	for _, extra := range []struct {
		kind, file string
		text       func(*repository) ([]byte, error)
	}{{"updateinfo", "updateinfo.xml", a.updateinfo}, {"modules", "modules.yaml", a.modules}} {
		b, err := extra.text(repo)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			continue
		}
		file := filepath.Join(work, extra.file)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			return err
		}
		if err := run("modifyrepo_c", a.fileNames(), "--mdtype="+extra.kind, file, repodata); err != nil {
			return err
		}
	}
	if err := a.settle(filepath.Join(repodata, "repomd.xml")); err != nil {
		return err
	}
	if err := a.replace(path.Join(repo.folder, "repodata"), repodata); err != nil {
		return err
	}
	return a.sign(repo)
}

// replace puts the files of a folder of this machine in the place of one below the archive's root.
func (a *Archive) replace(name, with string) error {
	if err := os.RemoveAll(a.on(name)); err != nil {
		return err
	}
	entries, err := os.ReadDir(with)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(with, e.Name()))
		if err != nil {
			return err
		}
		if err := a.write(path.Join(name, e.Name()), b); err != nil {
			return err
		}
	}
	return nil
}

// createrepo has createrepo_c describe the repository's packages, and no others that lie in the same folder.
func (a *Archive) createrepo(repo *repository, out string) error {
	top := repo.folder
	args := []string{"--quiet", "--no-database", "--workers=1", "--revision=" + a.revision(), "--set-timestamp-to-revision", "--outputdir=" + out}
	if blobs := a.Release.blobs(); blobs != "" {
		top = blobs
		up, err := filepath.Rel(repo.folder, blobs)
		if err != nil {
			return err
		}
		args = append(args, "--location-prefix="+filepath.ToSlash(up))
	}
	var list strings.Builder
	for _, p := range repo.packages {
		rel, err := filepath.Rel(top, p.path)
		if err != nil {
			return err
		}
		fmt.Fprintln(&list, filepath.ToSlash(rel))
	}
	names := filepath.Join(out, "packages")
	if err := os.WriteFile(names, []byte(list.String()), 0o600); err != nil {
		return err
	}
	from := a.on(path.Join(described, top))
	if err := os.MkdirAll(from, 0o755); err != nil {
		return err
	}
	return run("createrepo_c", append(args, "--pkglist="+names, from)...)
}

// fileNames says whether the metadata's files have their digests in their names: Red Hat's have, Amazon's have not.
func (a *Archive) fileNames() string {
	if a.Release.blobs() != "" {
		return "--simple-md-filenames"
	}
	return "--unique-md-filenames"
}

func (a *Archive) revision() string { return strconv.FormatInt(a.now.Unix(), 10) }

var stamps = regexp.MustCompile(`<timestamp>[0-9]+</timestamp>`)

// settle takes out of repomd.xml when it was really made.
func (a *Archive) settle(repomd string) error {
	b, err := os.ReadFile(repomd)
	if err != nil {
		return err
	}
	return os.WriteFile(repomd, stamps.ReplaceAll(b, []byte("<timestamp>"+a.revision()+"</timestamp>")), 0o644)
}

// sign makes the signature of repomd.xml beside it, or takes it away.
func (a *Archive) sign(repo *repository) error {
	repomd := path.Join(repo.folder, "repodata", "repomd.xml")
	if repo.signer == nil {
		err := os.Remove(a.on(repomd + ".asc"))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	b, err := os.ReadFile(a.on(repomd))
	if err != nil {
		return err
	}
	sig, err := repo.signer.armored(bytes.NewReader(b), a.now)
	if err != nil {
		return err
	}
	return a.write(repomd+".asc", sig)
}

// run runs one of createrepo_c's programs.
func run(program string, args ...string) error {
	out, err := exec.Command(program, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "the stand-in archives need " + program, Cause: err, Hint: "apt-get install createrepo-c"}
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(out))
	}
	return nil
}
