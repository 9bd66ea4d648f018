package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// recipe is part of a toolbox's name in the cache: raise it when the same lock shall give another image.
const recipe = "1"

// Toolbox makes the image with the factory's own tools on this machine, from nothing but its lock: the packages are
// fetched and checked, and mmdebstrap installs exactly these. The same lock gives the same image, bit for bit.
type Toolbox struct {
	Dir      string            // cache folder; kept between runs, may be deleted
	Archives map[string]string // archive id → URL
	HTTP     *http.Client      // nil = http.DefaultClient
	// Scratch is where the image is put together; empty = memory when there is room, else Dir.
	Scratch string
	Events  factory.Events
}

// Ensure returns the folder of an OCI layout with the toolbox that lock describes, and the digest of its manifest. It
// makes the image when the cache does not have it, one process at a time; an unfinished one is never taken for whole.
//
// Errors: ErrUnavailable or ErrUnverified when a package cannot be had as locked, ErrUnverified when the image differs
// from lock.Digest, ErrInvalid when this machine cannot make one (not root, no mmdebstrap).
func (t Toolbox) Ensure(ctx context.Context, img factory.Image, lock factory.Lock) (layout string, d factory.Digest, err error) {
	key, err := t.key(img, lock)
	if err != nil {
		return "", "", err
	}
	layout = filepath.Join(t.Dir, key)
	if d, err = readLayout(layout); err == nil {
		return layout, d, pinned(img, lock, d)
	}
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return "", "", err
	}
	unlock, err := t.lock(ctx, img)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	if d, err = readLayout(layout); err != nil { // nobody made it while we waited
		d, err = t.make(ctx, img, lock, layout)
	}
	if err != nil {
		return "", "", err
	}
	return layout, d, pinned(img, lock, d)
}

// Pin makes the image that lock describes as this machine makes it, whatever lock pinned, and returns lock with that
// digest in its place. It warns when that is another one: every image that was locked with the old one must be locked again.
func (t Toolbox) Pin(ctx context.Context, img factory.Image, lock factory.Lock) (factory.Lock, error) {
	was := lock.Digest
	lock.Digest = ""
	_, made, err := t.Ensure(ctx, img, lock)
	if err != nil {
		return factory.Lock{}, err
	}
	if was != "" && was != made {
		t.Events.Emit(factory.Event{Kind: factory.Warned, Image: img.Name, Step: factory.StepResolve,
			Message: fmt.Sprintf("this machine makes %s of the packages that made %s elsewhere; the lock pins the new one from now on", made.Short(), was.Short())})
	}
	lock.Digest = made
	return lock, nil
}

func (t Toolbox) key(img factory.Image, lock factory.Lock) (string, error) {
	lock.Digest = "" // what it makes, not what it is made from
	b, err := lock.Encode()
	if err != nil {
		return "", err
	}
	return factory.DigestOf([]byte(recipe + "\n" + dpkgConf(img.Packages) + string(b))).Hex(), nil
}

func pinned(img factory.Image, lock factory.Lock, d factory.Digest) error {
	if lock.Digest == "" || lock.Digest == d {
		return nil
	}
	return &factory.Problem{
		Kind: factory.ErrUnverified, What: fmt.Sprintf("%s: this machine makes %s from the lock, which pins %s", img.Name, d.Short(), lock.Digest.Short()),
		Hint: "if this machine's result is to be the new one: factory lock " + img.Name,
	}
}

// lock waits until no other process makes a toolbox in the same folder.
func (t Toolbox) lock(ctx context.Context, img factory.Image) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(t.Dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if !told {
			t.note(img, "waiting for another run that makes the toolbox")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// make builds the image beside its final place and moves it there when it is whole.
func (t Toolbox) make(ctx context.Context, img factory.Image, lock factory.Lock, layout string) (factory.Digest, error) {
	if len(img.Platforms) != 1 || len(lock.For(img.Platforms[0])) == 0 {
		return "", &factory.Problem{Kind: factory.ErrInvalid, What: img.Name + " needs a lock for exactly one platform", Where: img.Where}
	}
	pkgs := lock.For(img.Platforms[0])
	debs := fetcher{dir: filepath.Join(t.Dir, "packages"), archives: t.Archives, http: t.HTTP, progress: func(done, total int64) {
		t.Events.Emit(factory.Event{Kind: factory.Advanced, Image: img.Name, Step: factory.StepResolve, Message: "fetching packages", Current: done, Total: total, Unit: "bytes"})
	}}
	if err := os.MkdirAll(debs.dir, 0o755); err != nil {
		return "", err
	}
	if err := debs.fetch(ctx, pkgs); err != nil {
		return "", err
	}
	scratch, err := t.scratch(layout)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	rootfs, err := bootstrap{scratch: scratch, debs: debs, conf: dpkgConf(img.Packages), suite: img.Distro.Codename, epoch: lock.Timestamp, note: func(text string) { t.note(img, text) }}.run(ctx, img, pkgs)
	if err != nil {
		return "", err
	}
	making := filepath.Join(t.Dir, ".making")
	if err := errors.Join(os.RemoveAll(making), os.RemoveAll(layout), os.Mkdir(making, 0o755)); err != nil {
		return "", err
	}
	t.note(img, "packing the toolbox")
	d, err := packRoot(making, img.Platforms[0], lock.Timestamp, rootfs, dpkgConf(img.Packages), pkgs)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.Rename(making, layout), syncFolders(t.Dir)); err != nil {
		return "", err
	}
	return d, errors.Join(debs.prune(pkgs), t.prune(layout))
}

// kept is how many toolboxes stay in the cache: the new one, and the one that another run may still use.
const kept = 2

var layoutName = regexp.MustCompile(`^[0-9a-f]{64}$`)

// prune removes all layouts but the newest; the one just made is among those that stay, whatever the clock says.
func (t Toolbox) prune(made string) error {
	entries, err := os.ReadDir(t.Dir)
	if err != nil {
		return err
	}
	ages := map[string]time.Time{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && layoutName.MatchString(e.Name()) && e.Name() != filepath.Base(made) {
			ages[e.Name()] = info.ModTime()
		}
	}
	others := slices.SortedFunc(maps.Keys(ages), func(a, b string) int { return cmp.Or(ages[b].Compare(ages[a]), cmp.Compare(a, b)) })
	for _, name := range others[min(kept-1, len(others)):] {
		err = errors.Join(err, os.RemoveAll(filepath.Join(t.Dir, name)))
	}
	return err
}

func (t Toolbox) note(img factory.Image, text string) {
	t.Events.Emit(factory.Event{Kind: factory.Noted, Image: img.Name, Step: factory.StepResolve, Message: text})
}

// memory is where Linux keeps files in memory, and scratchRoom what an image needs there.
const (
	memory      = "/dev/shm"
	scratchRoom = 2 << 30
)

// scratch makes the empty folder in which the image is put together. Its name is the same in every run, so that what a
// killed run left is found and removed.
func (t Toolbox) scratch(layout string) (string, error) {
	base := t.Scratch
	var st syscall.Statfs_t
	if base == "" && syscall.Statfs(memory, &st) == nil && st.Bavail*uint64(st.Bsize) >= scratchRoom {
		base = memory
	}
	if base == "" {
		base = t.Dir
	}
	abs, err := filepath.Abs(layout)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, ".factory-toolbox-"+factory.DigestOf([]byte(filepath.Dir(abs))).Short())
	// Removing through a mount would remove what is mounted.
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil && strings.Contains(string(mounts), dir) {
		return "", &factory.Problem{Kind: factory.ErrConflict, What: dir + " still has mounts of an earlier run", Hint: "umount them"}
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}
