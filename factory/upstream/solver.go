package upstream

import (
	"context"
	"net/http"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Where a step finds its files, leaves its results and works.
const (
	inDir   = "/.in"
	outDir  = "/.out"
	workDir = "/.work"
)

// Solver turns a definition into a lock: it has apt or dnf decide, in Toolbox, and believes only what they verified.
type Solver struct {
	Runner   Runner
	Toolbox  factory.Root      // where apt and dnf run; zero for [Host]
	Archives map[string]string // archive id → URL
	// Entitlements are the client certificates that archives ask for, by archive id; RPM only.
	Entitlements map[string]factory.Entitlement
	// Keyrings is the folder with the distributions' keys where apt runs; empty = /usr/share/keyrings.
	Keyrings string
	HTTP     *http.Client     // for Current and mirror lists; nil = http.DefaultClient
	Now      func() time.Time // required
	Events   factory.Events
	// Cache is a folder that remembers what the last locks were made from, for Current, and the changelogs that were read. It
	// may be deleted at any time; empty = remember nothing.
	Cache string
}

// Request is what is to be locked.
type Request struct {
	Image      factory.Image
	Definition factory.Digest // of what is asked
	Old        *factory.Lock  // the lock in force; nil = none
	Tools      map[string]factory.Digest
	Roles      map[string]factory.Digest
	// Parent is the lock of the image that this one is built on; nil = it is made of packages alone. What is solved holds all
	// packages of it as they are, and names it.
	Parent *factory.Lock
}

// Solve returns the package set that the archives offer for an image now, and what that changes against the old lock.
//
// The same archive state gives the same lock, byte for byte. Errors: ErrUnavailable when an archive or a suite cannot be
// had or they lack a package, ErrUnverified when a signature or checksum does not hold or the archives went back behind
// req.Old, ErrInvalid when the definition cannot be satisfied, ErrConflict when the archives have moved on since the parent was
// locked. They name archive, suite and file; there is no partial result,
// but for CVE ids: when changelogs or updateinfo cannot be had, a warning says so.
func (s Solver) Solve(ctx context.Context, req Request) (factory.Lock, factory.LockChange, error) {
	one := s.SolveAll(ctx, []Request{req})[0]
	return one.Lock, one.Change, one.Err
}

// adapter is what a package format does in its own way.
type adapter interface {
	// shares says what requests must have in common to be solved together; empty = this one is solved alone.
	shares(req Request) string
	solve(ctx context.Context, reqs []Request) []Solution
	current(ctx context.Context, req Request) (bool, error)
	harvest(ctx context.Context, images []LockedImage) (factory.Advisories, error)
	// advised names the packages that advisories are about, in factory.Advisory.Source's sense, sorted.
	advised(images []LockedImage) []string
}

func (s Solver) adapter(d factory.Distro) adapter {
	if d.Format() == factory.RPM {
		return dnf{s}
	}
	return apt{s}
}

// settle dates a new lock, and makes it one of a child where it is: the same set keeps the time that it was first seen at. latest
// is the newest date of what was asked.
func settle(req Request, lock *factory.Lock, newest, latest time.Time) error {
	lock.Timestamp = newest
	// An archive that was taken out of the definition may have given the old lock its time; nothing could be measured by it.
	known := func(t time.Time) bool { return !latest.Before(t) }
	if old := req.Old; old != nil && old.SamePackages(*lock) && (old.Definition == lock.Definition || known(old.Timestamp)) {
		lock.Timestamp = old.Timestamp
		if old.Definition == lock.Definition {
			lock.Digest = old.Digest
		}
	}
	return req.adopt(lock)
}
