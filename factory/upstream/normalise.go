package upstream

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// toolboxPython runs Python from inside a foreign root.
var toolboxPython = "#!/bin/sh\nexec " + strings.Join(factory.ToolboxPython(), " ") + " \"$@\"\n"

// extra is what a root filesystem gets beyond its packages. Data of nil is a directory.
type extra struct {
	name string // no leading slash
	mode int64
	data []byte
}

// toolboxExtras are the wrapper and the mount points that steps use, and the files that packages or mmdebstrap fill with
// this machine's own.
func toolboxExtras(dpkgCfg string) []extra {
	return []extra{
		{"etc/dpkg/dpkg.cfg.d/90factory", 0o644, []byte(dpkgCfg)},
		{"etc/hostname", 0o644, []byte("toolbox\n")},
		{"etc/machine-id", 0o444, []byte{}},
		{"etc/resolv.conf", 0o644, []byte{}},
		{"opt/tb", 0o755, nil},
		{"opt/tb/bin", 0o755, nil},
		{"opt/tb/bin/python3", 0o755, []byte(toolboxPython)},
		{"dev", 0o755, nil},
		{".in", 0o755, nil},
		{".out", 0o755, nil},
		{".toolbox", 0o755, nil},
		{"target", 0o755, nil},
	}
}

// residue reports whether a path of a fresh root filesystem holds nothing but traces of how it was made.
func residue(name string, dir bool) bool {
	base := path.Base(name)
	switch {
	case under(name, "dev"), under(name, "run"), under(name, "tmp"), under(name, "proc"), under(name, "sys"):
		return true
	case under(name, "var/log"), under(name, "var/tmp"), under(name, "var/lib/apt/lists"), under(name, "var/cache/ldconfig"), under(name, "var/cache/apt"):
		return !dir
	case under(name, "etc/apt/sources.list.d"), under(name, "etc/apt/preferences.d"):
		return true
	case name == "etc/apt/sources.list", name == "etc/dpkg/dpkg.cfg.d/99mmdebstrap", name == "etc/apt/apt.conf.d/99mmdebstrap",
		name == "etc/.pwd.lock", name == "var/lib/dbus/machine-id":
		return true
	case path.Dir(name) == "etc" && strings.HasSuffix(base, "-"):
		return !dir
	case strings.HasPrefix(name, "var/lib/dpkg/") || strings.HasPrefix(name, "var/cache/debconf/"):
		return strings.HasSuffix(base, "-old") || base == "lock" || base == "lock-frontend"
	}
	return false
}

func under(name, dir string) bool { return strings.HasPrefix(name, dir+"/") }

// normalise copies a root filesystem's tar without residue, with the extras, and with nothing in its headers that differs
// from run to run: no time after epoch, no user names, no access times.
func normalise(dst io.Writer, src io.Reader, epoch time.Time, extras []extra) error {
	in, out := tar.NewReader(src), tar.NewWriter(dst)
	replaced := map[string]bool{}
	for _, e := range extras {
		replaced[e.name] = e.data != nil
	}
	seen := map[string]bool{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("root filesystem: %w", err)
		}
		name := strings.Trim(path.Clean("/"+h.Name), "/")
		if name == "" || replaced[name] || residue(name, h.Typeflag == tar.TypeDir) {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = strings.Trim(path.Clean("/"+h.Linkname), "/")
			if !seen[h.Linkname] {
				return fmt.Errorf("root filesystem: %s is a link to %s, which was left out", name, h.Linkname)
			}
		}
		seen[name] = true
		if err := copyEntry(out, in, h, name, epoch); err != nil {
			return fmt.Errorf("root filesystem: %s: %w", name, err)
		}
	}
	for _, e := range extras {
		if seen[e.name] {
			continue
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: epoch}
		if e.data == nil {
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := out.Write(e.data); err != nil {
			return err
		}
	}
	return out.Close()
}

func copyEntry(out *tar.Writer, in io.Reader, h *tar.Header, name string, epoch time.Time) error {
	n := &tar.Header{
		Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid,
		Size: h.Size, Devmajor: h.Devmajor, Devminor: h.Devminor, ModTime: h.ModTime.Truncate(time.Second),
	}
	if n.ModTime.After(epoch) {
		n.ModTime = epoch
	}
	if h.Typeflag == tar.TypeDir {
		n.Name += "/"
	}
	for k, v := range h.PAXRecords {
		if strings.HasPrefix(k, "SCHILY.xattr.") {
			if n.PAXRecords == nil {
				n.PAXRecords = map[string]string{}
			}
			n.PAXRecords[k] = v
		}
	}
	if err := out.WriteHeader(n); err != nil {
		return err
	}
	_, err := io.Copy(out, in)
	return err
}
