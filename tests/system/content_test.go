package system_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

// imageOf reads an image's definition.
func imageOf(t testing.TB, p plant, image string) factory.Image {
	t.Helper()
	set, err := definition.Load(p.Dir)
	must(t, err)
	img, err := set.Image(image)
	must(t, err)
	return img
}

// pull opens a release in its registry as any client does.
func pull(t testing.TB, release factory.Release) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(release.Tagged(), name.Insecure)
	must(t, err)
	img, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	must(t, err)
	return img
}

// What a consumer gets is what the definition says, and nothing of the machine that made it.
func TestImagesHoldWhatTheyShould(t *testing.T) {
	p := released(t)
	p.serve(t)
	for _, image := range images {
		t.Run(image, func(t *testing.T) {
			release := p.release(t, image)
			img := pull(t, release)
			checkConfig(t, imageOf(t, p, image), img)
			checkLayers(t, p, img)
			checkFiles(t, p, img)
		})
	}
}

func checkConfig(t *testing.T, want factory.Image, img v1.Image) {
	t.Helper()
	file, err := img.ConfigFile()
	must(t, err)
	c := file.Config
	if c.User != "65532:65532" || c.WorkingDir != want.Config.Workdir || !slices.Equal(c.Cmd, want.Config.Cmd) {
		t.Errorf("configuration %+v", c)
	}
	if !slices.Equal(c.Env, want.Config.Env) || !slices.ContainsFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, "PATH=/usr/local/sbin:") }) {
		t.Errorf("environment %q, want %q", c.Env, want.Config.Env)
	}
	for label, value := range map[string]string{
		"org.opencontainers.image.title": want.Name, "org.opencontainers.image.description": want.Summary,
		"io.imagefactory.hardening": "cis_debian level 2 container", "io.imagefactory.end-of-life": want.EndOfLife.String(),
	} {
		if c.Labels[label] != value {
			t.Errorf("label %s is %q, not %q", label, c.Labels[label], value)
		}
	}
	m, err := img.Manifest()
	must(t, err)
	if m.Annotations["org.opencontainers.image.title"] != want.Name {
		t.Errorf("annotations %v", m.Annotations)
	}
}

// checkLayers: no byte of any layer tells where it was made, deleted files included.
func checkLayers(t *testing.T, p plant, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	must(t, err)
	words := private(t, p)
	for _, l := range layers {
		r, err := l.Uncompressed()
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		for _, w := range words {
			if i := bytes.Index(b, []byte(w)); i >= 0 {
				t.Errorf("a layer contains %q: %q", w, b[max(0, i-200):min(len(b), i+200)])
			}
		}
	}
}

// residue is what tools leave behind.
var residue = regexp.MustCompile(`(^|/)(\.toolbox|\.play|\.factory|\.ansible[^/]*|__pycache__|\.debs|\.out)(/|$)|\.py[co]?$|^(run|tmp|var/tmp|proc|sys|dev)/.|` +
	`^var/lib/apt/lists/.|^var/cache/(apt|ldconfig|debconf)/.+-old|\.log$|^etc/[a-z]+-$|\.dpkg-[a-z]+$|^etc/(machine-id|ssh/ssh_host_.*)$|^root/\.(bash_history|wget-hsts|cache)`)

// unowned are files that no package brought: what packages' own scripts make, accounts, and what hardening adds.
var unowned = regexp.MustCompile(`^(` + strings.Join([]string{
	`etc/(alternatives/.+|dpkg/origins/default|rc[06S]\.d/[KS]01hwclock\.sh|systemd/system/timers\.target\.wants/[a-z-]+\.timer)`,
	`etc/(apt/apt\.conf\.d/60-cis-dependencies|profile\.d/60-cis-(tmout|umask)\.sh|security/limits\.d/60-cis-coredumps\.conf|security/opasswd)`,
	`etc/(ca-certificates\.conf|ssl/certs/.+|ld\.so\.cache|localtime|timezone|motd|environment|nsswitch\.conf|profile|shells)`,
	`etc/(passwd|group|shadow|gshadow|subuid|subgid|pam\.d/common-[a-z-]+)`,
	`root/\.(bashrc|profile)`,
	`usr/(bin/(awk|nawk|pager|which)|sbin/rmt|local/man|share/info/dir|share/pam-configs/cis-[a-z-]+)`,
	`var/cache/(cracklib/cracklib_dict\.[a-z]+|debconf/[a-z]+\.dat)`,
	`var/lib/(dpkg/(info/.+|alternatives/.+|triggers/.+|arch-native|diversions|status)|pam/[a-z-]+|shells\.state|systemd/deb-systemd-helper-enabled/.+)`,
	`var/log/(alternatives|dpkg)\.log|var/spool/mail`,
}, "|") + `)$`)

// checkFiles: every file is a package's or known by name, no tool left anything, and what no package brought names no archive.
func checkFiles(t *testing.T, p plant, img v1.Image) {
	t.Helper()
	owned, files, archives := map[string]bool{}, map[string]*tar.Header{}, archives(t, p)
	naming := map[string]string{}
	stream := mutate.Extract(img)
	defer stream.Close()
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		file := strings.Trim(path.Clean("/"+h.Name), "/")
		files[file] = h
		b, err := io.ReadAll(r)
		must(t, err)
		for _, a := range archives {
			if bytes.Contains(b, []byte(a)) {
				naming[file] = a
			}
		}
		if strings.HasPrefix(file, "var/lib/dpkg/info/") && strings.HasSuffix(file, ".list") {
			for line := range strings.Lines(string(b)) {
				owned[merged(strings.Trim(strings.TrimSpace(line), "/"))] = true
			}
		}
	}
	if len(files) < 2000 {
		t.Errorf("only %d files", len(files))
	}
	for file, h := range files {
		if residue.MatchString(file) && !owned[file] && h.Size > 0 {
			t.Errorf("residue: %s", file)
		}
		if h.Typeflag != tar.TypeDir && !owned[file] && !unowned.MatchString(file) {
			t.Errorf("nobody's file: %s (%d bytes)", file, h.Size)
		}
		if naming[file] != "" && !owned[file] {
			t.Errorf("%s names the archive %s", file, naming[file])
		}
	}
}

// merged is where a path of a package lies since /bin, /lib and /sbin are links.
func merged(file string) string {
	first, _, _ := strings.Cut(file, "/")
	if slices.Contains([]string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}, first) && first != file {
		return "usr/" + file
	}
	return file
}
