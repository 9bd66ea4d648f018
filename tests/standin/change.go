package standin

import (
	"os"
	"time"
)

// Unsign publishes a package anew without any signature; the metadata are right.
func (a *Archive) Unsign(name string) error {
	return a.rebuild(name, func(repo *repository, p *published) error { return a.republish(repo, p, nil) })
}

// SignWithOther publishes a package anew, signed with a key that nobody pinned; the metadata are right.
func (a *Archive) SignWithOther(name string) error {
	return a.rebuild(name, func(repo *repository, p *published) error {
		key, err := stranger()
		if err != nil {
			return err
		}
		return a.republish(repo, p, key)
	})
}

// Tamper changes one byte of a package's payload; neither metadata nor signature fit any more. Twice is as if never.
func (a *Archive) Tamper(name string) error {
	return a.rebuild(name, func(_ *repository, p *published) error {
		b, err := os.ReadFile(a.on(p.path))
		if err != nil {
			return err
		}
		b[len(b)-16] ^= 0xff
		return a.write(p.path, b)
	})
}

// Withdraw removes a package's file; the metadata still name it.
func (a *Archive) Withdraw(name string) error {
	return a.rebuild(name, func(_ *repository, p *published) error { return os.Remove(a.on(p.path)) })
}

// Replace puts another package with the same name and version in its place, properly signed. The metadata stay as they were,
// as if the package had changed between solve and fetch.
func (a *Archive) Replace(name string) error {
	return a.rebuild(name, func(_ *repository, p *published) error {
		e := p.edition
		e.variant++
		b, err := build(e, a.look, a.key)
		if err != nil {
			return err
		}
		return a.write(p.path, b)
	})
}

// rebuild does something to the newest package of a name in every repository.
func (a *Archive) rebuild(name string, do func(*repository, *published) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, in, err := a.find(name)
	if err != nil {
		return err
	}
	a.now = a.now.Add(time.Hour)
	for i, p := range found {
		if err := do(in[i], p); err != nil {
			return err
		}
	}
	return nil
}

// republish builds a package with another signature and describes the repository with it.
func (a *Archive) republish(repo *repository, p *published, key *Key) error {
	q, err := a.add(repo, p.edition, key)
	if err != nil {
		return err
	}
	*p = *q
	return a.describe(repo)
}

// UnsignMetadata takes away the signatures of the metadata.
func (a *Archive) UnsignMetadata() error { return a.resign(func() (*Key, error) { return nil, nil }) }

// SignMetadataWithOther signs the metadata with a key that nobody pinned.
func (a *Archive) SignMetadataWithOther() error { return a.resign(stranger) }

func (a *Archive) resign(with func() (*Key, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(time.Hour)
	key, err := with()
	if err != nil {
		return err
	}
	for _, repo := range a.repos {
		repo.signer = key
		if err := a.sign(repo); err != nil {
			return err
		}
	}
	return nil
}
