package definition

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// Digest is the digest of exactly what the archive's solver is asked: archives, keys, packages in and out, platforms
// and distribution. The order of archives counts, that of names does not. What a child's parent is asked is part of it; what the
// archives answered there, its lock says.
func Digest(img factory.Image) factory.Digest {
	question := struct {
		Distro    factory.Distro     `json:"distro"`
		Archives  []factory.Archive  `json:"archives"`
		Keyring   string             `json:"keyring"`
		Keys      []factory.Key      `json:"keys,omitempty"`
		Modules   []string           `json:"modules,omitempty"`
		Essential bool               `json:"essential"`
		Include   []string           `json:"include"`
		Exclude   []string           `json:"exclude"`
		Only      []string           `json:"only,omitempty"`
		Platforms []factory.Platform `json:"platforms"`
	}{
		Distro: img.Distro, Archives: slices.Clone(img.Archives), Keyring: img.Keyring, Essential: img.Packages.Essential,
		Keys: img.Keys, Modules: unordered(img.Packages.Modules),
		Only:    unordered(img.Only),
		Include: unordered(img.Packages.Include), Exclude: unordered(img.Packages.Exclude), Platforms: slices.Clone(img.Platforms),
	}
	for i := range question.Archives {
		question.Archives[i].Only = unordered(question.Archives[i].Only)
	}
	slices.SortFunc(question.Platforms, func(a, b factory.Platform) int {
		return slices.Compare([]string{a.OS, a.Architecture}, []string{b.OS, b.Architecture})
	})
	b, err := json.Marshal(question)
	if err != nil {
		panic(err) // strings, booleans and platforms cannot fail
	}
	return factory.DigestOf(b)
}

func unordered(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// RoleDigests returns the digest of each role that the image's profile lists: its files' paths, execute bits and bytes.
// An image without a profile has none.
func RoleDigests(dir string, img factory.Image) (map[string]factory.Digest, error) {
	if img.Hardening.Profile == "" {
		return nil, nil
	}
	p, err := LoadProfile(dir, img.Hardening.Profile)
	if err != nil {
		return nil, err
	}
	t, err := openTree(dir)
	if err != nil {
		return nil, err
	}
	defer t.close()
	digests := map[string]factory.Digest{}
	for _, role := range p.Roles {
		name := path.Join(rolesDir, role)
		files, err := t.files(name)
		if err != nil {
			return nil, err
		}
		digests[role] = contentDigest(files, name+"/")
	}
	return digests, nil
}

// maxLock is the size in bytes beyond which a lock is refused unread.
const maxLock = 32 << 20

// ReadLock reads an image's committed lock. It returns false when there is none; a corrupt one is a Problem with its place.
func ReadLock(dir, image string) (factory.Lock, bool, error) {
	w := ReadLocks(dir, []string{image})[image]
	return w.Lock, w.There, w.Err
}

// Written is a lock as it lies in the repository, as ReadLock returns it.
type Written struct {
	Lock  factory.Lock
	There bool
	Err   error
}

// ReadLocks is ReadLock of many images, by name.
func ReadLocks(dir string, images []string) map[string]Written {
	t, err := openTree(dir)
	if err == nil {
		defer t.close()
	}
	read := make([]Written, len(images))
	together(len(images), func(i int) {
		w := &read[i]
		if _, ok := rules["image"].ok(images[i]); !ok {
			w.Err = problem(factory.Position{}, "", "expected %s, found %.80q", rules["image"].want, images[i])
		} else if w.Err = err; err == nil {
			w.Lock, w.There, w.Err = t.lock(images[i])
		}
	})
	all := map[string]Written{}
	for i, image := range images {
		all[image] = read[i]
	}
	return all
}

func (t tree) lock(image string) (factory.Lock, bool, error) {
	name := path.Join(folder, image, lockFileName)
	b, err := t.read(name, maxLock)
	if errors.Is(err, fs.ErrNotExist) {
		return factory.Lock{}, false, nil
	} else if err != nil {
		return factory.Lock{}, true, err
	}
	lock, err := factory.DecodeLock(b)
	if err == nil && lock.Image != image {
		err = &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("corrupt lock: it is for %.80q, expected %s", lock.Image, image), Hint: "make a new one: factory lock " + image}
	}
	for _, p := range factory.Problems(err) {
		p.Where = factory.Position{File: name}
	}
	if err != nil {
		return factory.Lock{}, true, err
	}
	return lock, true, nil
}
