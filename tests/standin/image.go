package standin

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Image is the definition of a minimal image over this archive. It asks for what a real definition asks for, without hardening.
func (a *Archive) Image() factory.Image {
	img := factory.Image{
		Name: "standin-" + string(a.Release), Kind: factory.KindBase, Summary: "Stand-in for " + string(a.Release),
		Owner:  factory.Owner{Team: "platform-linux", Contacts: []string{"platform-linux@example.com"}},
		Distro: a.look.distro, EndOfLife: factory.DateOf(born.AddDate(10, 0, 0)),
		Keys:     []factory.Key{{File: string(a.Release) + ".asc", Fingerprint: a.key.Fingerprint(), Armored: a.key.Armored()}},
		Packages: factory.Packages{Include: slices.Sorted(slices.Values(a.look.include))},
		Users:    []factory.User{{Name: "nonroot", UID: 65532, GID: 65532, Home: "/home/nonroot", Shell: "/sbin/nologin"}},
		Config:   factory.Config{User: "65532:65532", Workdir: "/home/nonroot", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"bash"}},
		Inputs:   []string{"baseimages/standin-" + string(a.Release)},
		Where:    factory.Position{File: "baseimages/standin-" + string(a.Release) + "/image.yaml", Line: 1},
	}
	for _, m := range a.options.Machines {
		img.Platforms = append(img.Platforms, platform(m))
	}
	slices.SortFunc(img.Platforms, func(p, q factory.Platform) int { return cmp.Compare(p.String(), q.String()) })
	for _, name := range a.names() {
		archive := factory.Archive{ID: a.ID(), Suite: name, UnsignedMetadata: a.options.UnsignedMetadata}
		switch a.Release {
		case AmazonLinux2:
			archive.MirrorList = "2/core/latest/$basearch/mirror.list"
		case AmazonLinux2023:
			archive.MirrorList = "al2023/core/mirrors/$releasever/$basearch/mirror.list"
		default:
			archive.Path = "content/public/ubi/dist/ubi9/$releasever/$basearch/" + name + "/os"
		}
		img.Archives = append(img.Archives, archive)
	}
	return img
}

func platform(machine string) factory.Platform {
	return factory.Platform{OS: "linux", Architecture: map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[machine]}
}

// File is a package of the archive: as a lock describes it, and where it lies.
type File struct {
	factory.Package
	File string // path on disk
}

// Files returns the newest packages of the names for the first machine, sorted by name. Without names it returns all that
// Image asks for, with everything that needs: a set that can be installed.
func (a *Archive) Files(names ...string) ([]File, error) {
	return a.FilesFor(platform(a.options.Machines[0]), names...)
}

// FilesFor is Files for a platform.
func (a *Archive) FilesFor(p factory.Platform, names ...string) ([]File, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var packages []*published
	in := map[*published]string{}
	for _, repo := range a.repos {
		if repo.machine == p.Machine() {
			for _, pkg := range repo.packages {
				packages, in[pkg] = append(packages, pkg), repo.name
			}
		}
	}
	chosen, err := choose(packages, names, a.look.include)
	if err != nil {
		return nil, err
	}
	var found []File
	for _, pkg := range chosen {
		found = append(found, File{File: filepath.Join(a.Dir, filepath.FromSlash(pkg.path)), Package: factory.Package{
			Name: pkg.Name, Version: pkg.evr(), Arch: pkg.arch, Source: sourceName(pkg), Archive: a.ID(), Repository: in[pkg], Path: pkg.path, Size: pkg.size, SHA256: pkg.sha256,
		}})
	}
	slices.SortFunc(found, func(x, y File) int { return cmp.Compare(x.Name, y.Name) })
	return found, nil
}

// sourceName is empty when it is the package's own.
func sourceName(p *published) string {
	if p.Source == p.Name {
		return ""
	}
	return p.Source
}

// choose finds packages by name, the newest of each; or, without names, those of a list and what they need. This is no solver:
// it takes the first that fits.
func choose(packages []*published, names, list []string) (chosen []*published, err error) {
	alone := len(names) > 0
	if !alone {
		names = slices.Clone(list)
	}
	for ; len(names) > 0; names = names[1:] {
		name, _, _ := strings.Cut(names[0], " ")
		has := func(p *published) bool { return p.Name == name || !alone && p.gives(name) }
		if slices.ContainsFunc(chosen, has) {
			continue
		}
		p := provider(packages, name)
		if p == nil {
			return nil, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("the stand-in has no package for %.80q", name)}
		}
		chosen = append(chosen, p)
		if !alone {
			names = append(names, p.Requires...)
		}
	}
	return chosen, nil
}

// provider is the newest package of a name, or the newest that provides it.
func provider(packages []*published, name string) *published {
	var found *published
	for _, p := range slices.Backward(packages) {
		switch {
		case p.Name == name && p.Module == "":
			return p
		case found == nil && p.Module == "" && p.gives(name):
			found = p
		}
	}
	return found
}

// gives reports whether the package provides a name that is not its own.
func (p *published) gives(name string) bool {
	if lib, ok := strings.CutSuffix(name, "()(64bit)"); ok {
		return slices.Contains(p.Sonames, lib)
	}
	return slices.ContainsFunc(p.Provides, func(s string) bool { n, _, _ := strings.Cut(s, " "); return n == name })
}
