package standin

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/rpmpack"

	"github.com/imagefactory/imagefactory/factory"
)

const busyboxPath = "/usr/libexec/standin/busybox"

// stub is a program that is only there to be seen.
const stub = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo VERSION\necho \"${0##*/}: this is a stand-in\" >&2\nexit 1\n"

// busybox is the host's own.
var busybox = sync.OnceValues(func() ([]byte, error) { return static("/bin/busybox") })

// static reads a program that needs no library, for the images have none.
func static(program string) ([]byte, error) {
	b, err := os.ReadFile(program)
	if err == nil {
		err = standsAlone(b)
	}
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "the stand-in archives need a static busybox as " + program, Cause: err, Hint: "apt-get install busybox-static"}
	}
	return b, nil
}

// standsAlone: no program loads it, and so no library is needed either.
func standsAlone(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return errors.New("it is not static")
	}
	return nil
}

// Kinds of file, as bits of its mode.
const (
	folder  = 0o040000
	symlink = 0o120000
)

// fill adds the package's files.
func fill(p *rpmpack.RPM, e edition) error {
	all, err := contents(e)
	if err != nil {
		return err
	}
	caps := make([]string, len(all))
	for i, f := range all {
		p.AddFile(f)
		caps[i] = e.Caps[f.Name]
	}
	if len(e.Caps) > 0 {
		p.AddCustomTag(tagFileCaps, rpmpack.EntryStringSlice(caps))
	}
	return nil
}

// contents are the package's files, sorted by name, as rpmpack writes them.
func contents(e edition) (all []rpmpack.RPMFile, err error) {
	if e.Name != "filesystem" && e.Name != "setup" { // these come before that folder
		doc := "/usr/share/doc/" + e.Name
		all = append(all, entry(doc, "", folder|0o755), entry(doc+"/STAND-IN", "A stand-in for "+e.Name+" "+e.evr()+".\n"+again(e), 0o644))
	}
	if e.Busybox {
		b, err := busybox()
		if err != nil {
			return nil, err
		}
		all = append(all, entry(path.Dir(busyboxPath), "", folder|0o755), entry(busyboxPath, string(b), 0o755))
	}
	for _, a := range e.Applets {
		all = append(all, entry("/usr/bin/"+a, "../libexec/standin/busybox", symlink|0o777))
	}
	for _, lib := range e.Sonames {
		all = append(all, entry("/usr/lib64/"+lib+".0.0", "stand-in for "+lib+"\n", 0o755), entry("/usr/lib64/"+lib, lib+".0.0", symlink|0o777))
	}
	for link, to := range e.Links {
		all = append(all, entry(link, to, symlink|0o777))
	}
	for _, program := range e.Programs {
		all = append(all, entry(program, strings.Replace(stub, "VERSION", e.version, 1), 0o755))
	}
	for name, text := range e.texts {
		mode := uint(0o644)
		if dir := path.Dir(name); dir == "/usr/bin" || dir == "/usr/sbin" {
			mode = 0o755
		}
		all = append(all, entry(name, text, mode))
	}
	for dir := range e.Dirs {
		all = append(all, entry(dir, "", folder))
	}
	for i := range all {
		if mode := cmp.Or(e.Modes[all[i].Name], e.Dirs[all[i].Name]); mode != "" {
			if err := own(&all[i], mode); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(f, g rpmpack.RPMFile) int { return strings.Compare(f.Name, g.Name) })
	return all, nil
}

// again is what a package has that was built a second time.
func again(e edition) string { return strings.Repeat("Built again.\n", e.variant) }

// entry is root's file.
func entry(name, body string, mode uint) rpmpack.RPMFile {
	kind := rpmpack.GenericFile
	switch {
	case mode >= folder:
	case strings.HasPrefix(name, "/usr/share/doc/"), strings.HasPrefix(name, "/usr/share/man/"):
		kind = rpmpack.DocFile
	case strings.HasPrefix(name, "/etc/"):
		kind = rpmpack.ConfigFile | rpmpack.NoReplaceFile
	}
	return rpmpack.RPMFile{Name: name, Body: []byte(body), Mode: mode, Owner: "root", Group: "root", MTime: uint32(born.Unix()), Type: kind}
}

// own sets mode and owner as the catalogue says them: 0775 root:mail.
func own(f *rpmpack.RPMFile, mode string) error {
	octal, owner, ok := strings.Cut(mode, " ")
	bits, err := strconv.ParseUint(octal, 8, 12)
	if err != nil {
		return fmt.Errorf("%s: mode: %w", f.Name, err)
	}
	f.Mode = f.Mode&^0o7777 | uint(bits)
	if ok {
		f.Owner, f.Group, _ = strings.Cut(owner, ":")
	}
	return nil
}
