package factory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// LockSchema is the version of the lock's format.
const LockSchema = 1

// Lock is the exact package set that the archives offered for an image, with everything else that decides its
// bytes. It names archives by id, never by host. Same input, same bytes.
type Lock struct {
	Schema int    `json:"schema"`
	Image  string `json:"image"`
	// Definition is the digest of what was asked of the solver (archives, packages, platforms).
	Definition Digest `json:"definition"`
	// Release is the distribution's own version where a release has many, as its packages say: 2023.9.20251110.
	Release string `json:"release,omitempty"`
	// Timestamp is the instant given to everything the build itself makes, in UTC, to the second: the newest Date
	// of the archives' Release files, or of the repositories' metadata, when this set was first seen.
	Timestamp time.Time `json:"timestamp"`
	// Digest pins the image that this lock makes; only the toolbox has one.
	Digest Digest `json:"digest,omitempty"`
	// Parent is whose packages these contain; only a child has one.
	Parent    *LockedParent     `json:"parent,omitempty"`
	Tools     map[string]Digest `json:"tools,omitempty"` // toolbox → image digest
	Roles     map[string]Digest `json:"roles,omitempty"` // role → content digest
	Platforms []LockedPlatform  `json:"platforms"`
}

// LockedParent names the lock that a child's lock extends.
type LockedParent struct {
	Image string `json:"image"`
	Lock  Digest `json:"lock"` // of the parent's lock.json
}

// LockedPlatform is the package set of one platform, sorted by name.
type LockedPlatform struct {
	Platform Platform  `json:"platform"`
	Packages []Package `json:"packages"`
}

// Package is one binary package at one version.
type Package struct {
	Name          string `json:"name"`
	Version       string `json:"version"` // EVR; for Debian [epoch:]upstream[-revision], for RPM [epoch:]version-release
	Arch          string `json:"arch"`    // the archive's name: amd64, all; x86_64, noarch
	Source        string `json:"source,omitempty"`
	SourceVersion string `json:"sourceVersion,omitempty"` // empty = Version
	Archive       string `json:"archive"`                 // archive id
	Repository    string `json:"repository,omitempty"`    // of several in an archive: baseos; RPM only
	Path          string `json:"path"`                    // below the archive's URL
	Size          int64  `json:"size"`                    // bytes
	SHA256        Digest `json:"sha256"`
}

// Purl returns the package URL of p in a distribution: pkg:deb/debian/bash@5.2.15-2?arch=amd64&distro=debian-12,
// pkg:rpm/redhat/bash@5.1.8-9.el9?arch=x86_64&distro=redhat-9. An RPM's epoch is a qualifier.
func (p Package) Purl(d Distro) string {
	esc := strings.NewReplacer("%", "%25", "+", "%2B", ":", "%3A", "~", "~", "^", "%5E", " ", "%20").Replace
	version, epoch := p.Version, ""
	if d.Format() == RPM {
		if e, rest, ok := strings.Cut(version, ":"); ok {
			version, epoch = rest, "&epoch="+e
		}
	}
	return fmt.Sprintf("pkg:%s/%s/%s@%s?arch=%s&distro=%s-%s%s", cmp.Or(d.Format(), Deb), d.Family, esc(p.Name), esc(version), p.Arch, d.Family, d.Release, epoch)
}

// For returns the package set of a platform, nil when the lock has none.
func (l Lock) For(p Platform) []Package {
	for _, lp := range l.Platforms {
		if lp.Platform == p {
			return lp.Packages
		}
	}
	return nil
}

// Has reports whether a package of that name is in the lock, on any platform.
func (l Lock) Has(name string) bool {
	return slices.ContainsFunc(l.Platforms, func(p LockedPlatform) bool { return Holds(p.Packages, name) })
}

// Holds reports whether a package of that name is among them.
func Holds(packages []Package, name string) bool {
	return slices.ContainsFunc(packages, func(p Package) bool { return p.Name == name })
}

// Size returns the bytes of all packages of all platforms.
func (l Lock) Size() (n int64) {
	for _, lp := range l.Platforms {
		for _, p := range lp.Packages {
			n += p.Size
		}
	}
	return n
}

// SamePackages reports whether both locks hold the same package set.
func (l Lock) SamePackages(m Lock) bool {
	return slices.EqualFunc(l.Platforms, m.Platforms, func(a, b LockedPlatform) bool {
		return a.Platform == b.Platform && slices.Equal(a.Packages, b.Packages)
	})
}

// Encode returns the lock's canonical bytes: sorted, indented, one package a line, so that a diff reads as a list of
// package changes.
func (l Lock) Encode() ([]byte, error) {
	l.Timestamp = l.Timestamp.UTC().Truncate(time.Second)
	l.Platforms = slices.Clone(l.Platforms)
	slices.SortFunc(l.Platforms, func(a, b LockedPlatform) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	type head Lock // drops methods
	h := head(l)
	h.Platforms = nil
	b, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSuffix(b, []byte("\"platforms\": null\n}"))
	out := bytes.NewBuffer(b)
	out.WriteString("\"platforms\": [")
	for i, lp := range l.Platforms {
		if i > 0 {
			out.WriteString(",")
		}
		fmt.Fprintf(out, "\n    {\"platform\": %q, \"packages\": [", lp.Platform)
		pkgs := slices.Clone(lp.Packages)
		slices.SortFunc(pkgs, func(a, b Package) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Arch, b.Arch))
		})
		for j, p := range pkgs {
			line, err := json.Marshal(p)
			if err != nil {
				return nil, err
			}
			if j > 0 {
				out.WriteString(",")
			}
			out.WriteString("\n      ")
			out.Write(line)
		}
		out.WriteString("\n    ]}")
	}
	out.WriteString("\n  ]\n}\n")
	return out.Bytes(), nil
}

// DecodeLock reads what Encode writes, strictly: unknown fields, trailing data, bad digests, paths that leave the
// archive, duplicate packages and wrong order are ErrInvalid.
func DecodeLock(b []byte) (Lock, error) {
	var l Lock
	bad := func(format string, args ...any) (Lock, error) {
		return Lock{}, &Problem{Kind: ErrInvalid, What: "corrupt lock: " + fmt.Sprintf(format, args...), Hint: "restore it with git, or make a new one: factory lock"}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return bad("%v", err)
	}
	if dec.More() {
		return bad("data after the end")
	}
	if l.Schema != LockSchema {
		return bad("schema %d, this factory reads %d", l.Schema, LockSchema)
	}
	if l.Image == "" || l.Definition == "" || l.Timestamp.IsZero() || len(l.Platforms) == 0 {
		return bad("image, definition, timestamp and platforms are required")
	}
	for _, lp := range l.Platforms {
		if len(lp.Packages) == 0 {
			return bad("%s has no packages", lp.Platform)
		}
		prev := ""
		for _, p := range lp.Packages {
			switch key := p.Name + "\x00" + p.Arch; {
			case p.Name == "" || p.Version == "" || p.Arch == "" || p.Archive == "" || p.SHA256 == "" || p.Size <= 0:
				return bad("package %.60q lacks a field", p.Name)
			case !localPath(p.Path):
				return bad("package %.60q has the path %.120q", p.Name, p.Path)
			case key <= prev:
				return bad("package %.60q is out of order or twice", p.Name)
			default:
				prev = key
			}
		}
	}
	canonical, err := l.Encode()
	if err != nil {
		return Lock{}, err
	}
	if !bytes.Equal(canonical, b) {
		return bad("not in canonical form")
	}
	return l, nil
}

func localPath(p string) bool {
	return p != "" && !path.IsAbs(p) && path.Clean(p) == p && p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsAny(p, "\\\x00?#%")
}

// PackageChange is one difference between two locks.
type PackageChange struct {
	Name string   `json:"name"`
	Old  string   `json:"old,omitempty"` // empty = added
	New  string   `json:"new,omitempty"` // empty = removed
	CVEs []string `json:"cves,omitempty"`
}

// LockChange is what a new lock changes for one image.
type LockChange struct {
	Image    string          `json:"image"`
	First    bool            `json:"first,omitempty"` // there was no lock before
	Packages []PackageChange `json:"packages,omitempty"`
	// Advisories are those that the changed packages bring, as their repositories publish them: sorted, one for each package,
	// vulnerability and publication. Empty where changelogs name the CVEs.
	Advisories []Advisory `json:"advisories,omitempty"`
	// Other names what else moved: "toolbox", "role cis_debian", "definition", "platform linux/arm64", "parent debian-12".
	Other []string `json:"other,omitempty"`
}

// Empty reports whether nothing changed.
func (c LockChange) Empty() bool { return !c.First && len(c.Packages) == 0 && len(c.Other) == 0 }

// CVEs returns every id that the changed packages name, sorted, once each.
func (c LockChange) CVEs() []string {
	var all []string
	for _, p := range c.Packages {
		all = append(all, p.CVEs...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
