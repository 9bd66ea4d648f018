package standin

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Published is when an archive was first published, unless Options say otherwise. Every change comes a day later.
var Published = time.Date(2025, 11, 10, 6, 0, 0, 0, time.UTC)

// Options of an archive. The zero value is a good one.
type Options struct {
	// Packages are further names that a definition asks for: those that the catalogue lacks become plain packages.
	Packages []string
	Machines []string // x86_64 when empty. Programs for another machine than this one are there, but cannot run
	// UnsignedMetadata leaves out repomd.xml.asc, as the vendors do.
	UnsignedMetadata bool
	Key              *Key      // signs everything; nil = one for each release that is fresh in this process
	Published        time.Time // zero = the constant Published
}

// Archive is a package archive on disk, with everything needed to change it as its vendor would, or an attacker.
type Archive struct {
	Dir     string // what is served
	Release Release

	look    look
	options Options
	key     *Key

	mu      sync.RWMutex
	now     time.Time
	version string // of Amazon Linux 2023: the newest release
	changes int
	repos   []*repository
	lists   map[string]string // mirror list → folder of the repository
}

// repository is what one repomd.xml describes.
type repository struct {
	name, machine string
	folder        string // below the archive's root
	packages      []*published
	advisories    []advisory
	signer        *Key // of repomd.xml; nil = unsigned
}

// published is a package as the metadata describes it.
type published struct {
	edition
	path   string // below the archive's root
	sha256 factory.Digest
	size   int64
}

// Make builds the archive of a release below dir, which must exist or be creatable.
func Make(dir string, r Release, o Options) (*Archive, error) {
	l, ok := looks[r]
	if !ok {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%q is no release that has a stand-in", r)}
	}
	if len(o.Machines) == 0 {
		o.Machines = []string{"x86_64"}
	}
	a := &Archive{Dir: dir, Release: r, look: l, options: o, key: o.Key, now: o.Published, lists: map[string]string{}}
	if a.now.IsZero() {
		a.now = Published
	}
	if r == AmazonLinux2023 {
		a.version = firstVersion
	}
	if a.key == nil {
		var err error
		if a.key, err = keyFor(l.key); err != nil {
			return nil, err
		}
	}
	specs, err := pick(r, o.Packages, func(s spec) bool { return s.Change == "" })
	if err != nil {
		return nil, err
	}
	for _, machine := range o.Machines {
		for _, name := range a.names() {
			repo := &repository{name: name, machine: machine, signer: a.key}
			if o.UnsignedMetadata {
				repo.signer = nil
			}
			a.repos = append(a.repos, repo)
		}
	}
	return a, a.publish(specs, func(s spec) string { return s.EVR[r] }, true)
}

// names are the repositories of the release, the base first.
func (a *Archive) names() []string {
	if a.Release == RHEL9 {
		return []string{"baseos", "appstream"}
	}
	return []string{"core"}
}

// publish adds packages to the newest repositories, where an older one of the same name and stream stays beside it, and writes
// everything that has changed. Where the vendor never changes a repository there is a new one afterwards.
func (a *Archive) publish(specs []spec, evr func(spec) string, first bool) error {
	for _, repo := range a.repos {
		before := len(repo.packages)
		repo.folder = a.Release.folder(repo.name, repo.machine, guid(string(a.Release), repo.machine, a.version, fmt.Sprint(a.changes)))
		for _, s := range specs {
			if cmp.Or(s.Repository, a.names()[0]) != repo.name || evr(s) == "" {
				continue
			}
			e, err := editionOf(s, a.Release, repo.machine, evr(s), variables{version: a.version, key: a.key.Armored()})
			if err != nil {
				return err
			}
			p, err := a.add(repo, e, a.key)
			if err != nil {
				return err
			}
			repo.packages = append(repo.packages, p)
		}
		for _, list := range a.Release.lists(repo.machine, a.version) {
			a.lists[list] = repo.folder + a.look.listEnd
		}
		a.notify(repo, first, repo.packages[before:])
		if err := a.describe(repo); err != nil {
			return err
		}
	}
	return nil
}

// add builds a package and puts it where the release keeps its packages.
func (a *Archive) add(repo *repository, e edition, key *Key) (*published, error) {
	b, err := build(e, a.look, key)
	if err != nil {
		return nil, err
	}
	p := &published{edition: e, sha256: factory.DigestOf(b), size: int64(len(b))}
	if blobs := a.Release.blobs(); blobs != "" {
		p.path = path.Join(blobs, p.sha256.Hex(), e.file())
	} else {
		p.path = path.Join(repo.folder, "Packages", strings.ToLower(e.Name[:1]), e.file())
	}
	if err := a.write(described+"/"+p.path, b); err != nil {
		return nil, err
	}
	return p, a.write(p.path, b)
}

// described is where every package lies as it was published, for the metadata to describe, whatever happened to it since.
const described = ".described"

// write puts a file below the archive's root, at once. It is as old as the last change, for whoever asks whether it has changed.
func (a *Archive) write(name string, b []byte) error {
	to := a.on(name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to+".new", b, 0o644); err != nil {
		return err
	}
	if err := os.Chtimes(to+".new", a.now, a.now); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// on is a path on disk.
func (a *Archive) on(name string) string { return filepath.Join(a.Dir, filepath.FromSlash(name)) }

// find returns the newest packages of a name, one of each repository that has it.
func (a *Archive) find(name string) (found []*published, in []*repository, err error) {
	for _, repo := range a.repos {
		for _, p := range slices.Backward(repo.packages) {
			if p.Name == name {
				found, in = append(found, p), append(in, repo)
				break
			}
		}
	}
	if len(found) == 0 {
		return nil, nil, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("the stand-in of %s has no package %.60q", a.Release, name)}
	}
	return found, in, nil
}

// ID is the id of the archive in definitions.
func (a *Archive) ID() string { return a.look.archive }

// Key signs every package, and the metadata.
func (a *Archive) Key() *Key { return a.key }

// Version is the newest release of Amazon Linux 2023: 2023.9.20251110. Empty for the others.
func (a *Archive) Version() string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.version
}
