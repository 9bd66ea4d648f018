package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client/llb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	// extendScript has a parent's own dpkg install what the parent does not have.
	//
	//go:embed scripts/extend.sh
	extendScript []byte
	// cutScript takes away all but some packages.
	//
	//go:embed scripts/cut.py
	cutScript []byte
)

// ChildRecipe is the digest of how this package makes a child of a format out of its parent's release. It belongs into every child's
// lock.
func ChildRecipe(f factory.Format) factory.Digest {
	if f == factory.RPM {
		return Recipe(f)
	}
	return factory.DigestOf(slices.Concat(extendScript, cutScript))
}

const (
	cutPrefix   = "cut "
	lockNote    = "io.imagefactory.lock" // annotation of a release: the digest of its lock
	maxManifest = 4 << 20
)

// child is a root that starts from the release of another image.
type child struct {
	batch
	base    llb.State
	config  []byte // of the base, as its image has it
	more    []factory.Package
	context map[string]factory.File // the image's own folder
	image   []byte                  // configuration that its Dockerfile makes; nil = it has none
}

// child describes a child's root up to its files: the parent's release, the packages that this does not have, accounts.
func (c *Client) child(b batch) (*child, error) {
	img := b.Job.Image
	format := img.Distro.Format()
	if format == factory.RPM && len(img.Only) > 0 {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "only: parts are made of Debian images, and " + img.From + " is one of RPM packages", Where: img.Where, Hint: "build on the whole of it"}
	}
	if b.Job.Parent == nil || b.Lock.Parent == nil || b.Lock.Parent.Image != img.From {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("nothing says which release of %s, or which lock, %s is built on", img.From, img.Name), Where: img.Where, Hint: "factory build " + img.From + ", then factory lock " + img.Name}
	}
	k := &child{batch: b}
	lock, err := k.readInputs()
	if err != nil {
		return nil, err
	}
	if err := c.openParent(k); err != nil {
		return nil, err
	}
	if k.more, err = missing(b, lock.For(b.platform)); err != nil {
		return nil, err
	}
	if format == factory.Deb && len(k.more) > 0 && !factory.Holds(lock.For(b.platform), "dpkg") {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s has no dpkg that could install the packages of %s", img.From, img.Name), Where: img.Where, Hint: "build it from an image that has, or take only files"}
	}
	return k, nil
}

// readInputs returns the parent's lock out of the job's inputs, held to what the child's lock says of it.
func (k *child) readInputs() (lock factory.Lock, err error) {
	img := k.Job.Image
	own, parents := path.Join("baseimages", img.Name)+"/", path.Join("baseimages", img.From, "lock.json")
	k.context = map[string]factory.File{}
	var found []byte
	for r := tar.NewReader(bytes.NewReader(k.Inputs)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return lock, &factory.Problem{Kind: factory.ErrInvalid, What: "the job's inputs are no tar", Cause: err}
		}
		name, ours := strings.CutPrefix(h.Name, own)
		if !ours && h.Name != parents {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return lock, &factory.Problem{Kind: factory.ErrInvalid, What: "the job's inputs are cut off", Cause: err}
		}
		if ours {
			k.context[name] = factory.File{Mode: uint32(h.Mode) & 0o777, Data: b}
		} else {
			found = b
		}
	}
	if factory.DigestOf(found) != k.Lock.Parent.Lock {
		return lock, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the lock of %s was made for another lock of %s", img.Name, img.From), Where: img.Where, Hint: "factory lock " + img.Name}
	}
	return factory.DecodeLock(found)
}

// openParent makes the parent's release, which must lie in Parents, the base.
func (c *Client) openParent(k *child) error {
	base := k.Job.Parent
	layout := filepath.Join(c.Parents, base.Digest.Hex())
	var index ocispec.Index
	if err := readJSON(layout, base.Digest, &index); err != nil {
		return err
	}
	if got := index.Annotations[lockNote]; got != string(k.Lock.Parent.Lock) {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s %s was made of another lock of %s than the lock of %s says", base.Image, base.Tag, base.Image, k.Job.Image.Name),
			Where: k.Job.Image.Where, Hint: "factory build " + base.Image + ", or factory lock " + k.Job.Image.Name}
	}
	i := slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return d.Platform != nil && d.Platform.OS == k.platform.OS && d.Platform.Architecture == k.platform.Architecture
	})
	if i < 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s has no %s", base.Ref(), k.platform), Where: k.Job.Image.Where, Hint: "take the platform out of platforms, or add it to those of " + base.Image}
	}
	var manifest ocispec.Manifest
	if err := readJSON(layout, factory.Digest(index.Manifests[i].Digest), &manifest); err != nil {
		return err
	}
	var err error
	if k.config, err = readBlob(layout, factory.Digest(manifest.Config.Digest)); err != nil {
		return err
	}
	root, err := c.openLayout(layout, factory.Digest(index.Manifests[i].Digest), k.platform)
	if err != nil {
		return err
	}
	k.base, err = unmarshal(root)
	return err
}

// readBlob reads a small blob of a layout and holds it to its digest.
func readBlob(layout string, d factory.Digest) ([]byte, error) {
	if _, err := factory.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(layout, "blobs", "sha256", d.Hex()))
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "the parent's image on disk", Cause: err, Hint: "run it again: the image is pulled anew"}
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && (len(b) > maxManifest || factory.DigestOf(b) != d) {
		err = errors.New("other content")
	}
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("the parent's image on disk: %s in %s", d, layout), Cause: err, Hint: "remove that folder"}
	}
	return b, nil
}

func readJSON(layout string, d factory.Digest, into any) error {
	b, err := readBlob(layout, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("the parent's image: %s is no manifest", d), Cause: err}
	}
	return nil
}

// missing returns the packages of a child's lock that its parent does not have. The rest must be the parent's, all of them
// unless the child is cut out.
func missing(b batch, parents []factory.Package) (more []factory.Package, err error) {
	img := b.Job.Image
	have := map[string]factory.Package{}
	for _, p := range parents {
		have[p.Name+":"+p.Arch] = p
	}
	bad := func(format string, args ...any) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf(format, args...), Where: img.Where, Hint: "make a new lock: factory lock " + img.Name}
	}
	for _, p := range b.packages {
		was, there := have[p.Name+":"+p.Arch]
		delete(have, p.Name+":"+p.Arch)
		switch {
		case !there:
			more = append(more, p)
		case was.Version != p.Version || was.SHA256 != p.SHA256:
			return nil, bad("the lock of %s has %s %s, and that of %s has %s", img.Name, p.Name, p.Version, img.From, was.Version)
		}
	}
	if len(img.Only) == 0 && len(have) > 0 {
		for _, p := range have {
			return nil, bad("the lock of %s lacks %s, which %s has", img.Name, p.Name, img.From)
		}
	}
	return more, nil
}

// extend installs the packages that the parent does not have, and makes its accounts: dpkg inside the target, rpm from the toolbox.
func (k *child) extend(c *Client) (llb.State, error) {
	img := k.Job.Image
	if len(k.more) == 0 && (len(img.Users) == 0 || img.Distro.Format() == factory.Deb && !factory.Holds(k.packages, "dpkg")) {
		return k.base, nil // on a part of an image, which has nothing that makes accounts, all of them are the parent's: the definition holds it to that
	}
	if m := makers[img.Distro.Format()]; img.Distro.Format() == factory.RPM {
		b := k.batch
		b.packages, b.parent = k.more, &k.base
		if err := b.fetch(c, m); err != nil {
			return llb.State{}, err
		}
		return m.root(b)
	}
	args := []string{"/bin/sh", ownDir + "/extend.sh"}
	for _, g := range img.Packages.OmitPaths {
		args = append(args, "--path-exclude="+g)
	}
	for _, g := range img.Packages.KeepPaths {
		args = append(args, "--path-include="+g)
	}
	opts := k.inTarget(args, "install "+k.title())
	for i, p := range k.more {
		src, file, err := c.source(k.toolbox, p)
		if err != nil {
			return llb.State{}, err
		}
		opts = append(opts, llb.AddMount(fmt.Sprintf("/.debs/%04d.deb", i), src, llb.SourcePath(file), llb.Readonly))
	}
	files := map[string]factory.File{ownDir + "/extend.sh": {Data: extendScript}, ownDir + "/users": {Data: []byte(accounts(img.Users))}}
	if k.Fresh != "" {
		files[ownDir+"/nonce"] = factory.File{Data: []byte(k.Fresh)}
	}
	return k.base.Run(append(opts, mountFiles(files)...)...).Root(), nil
}

// add puts the definition's files into the root.
func (k *child) add(root llb.State) (llb.State, error) {
	for _, f := range k.Job.Image.Files {
		user, group, _ := strings.Cut(f.Owner, ":")
		uid, err1 := strconv.Atoi(user)
		gid, err2 := strconv.Atoi(group)
		if err := errors.Join(err1, err2); err != nil {
			return root, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("files: %s: owner %.60q", f.Path, f.Owner), Where: k.Job.Image.Where, Hint: "uid:gid"}
		}
		// What is there may be a link, or have another mode: it is replaced.
		root = root.File(llb.Mkdir(path.Dir(f.Path), 0o755, llb.WithParents(true)).Rm(f.Path, llb.WithAllowNotFound(true)).
			Mkfile(f.Path, os.FileMode(f.Mode), f.Data, llb.WithUIDGID(uid, gid), llb.WithCreatedTime(k.Lock.Timestamp)),
			llb.WithCustomName("add "+f.Path))
	}
	return root, nil
}

// cut leaves the packages of the lock, the files that the definition adds, and the homes of its accounts.
func (k *child) cut(root llb.State) (llb.State, error) {
	plan := struct {
		Packages []string `json:"packages"`
		Paths    []string `json:"paths"`
	}{[]string{}, []string{}}
	for _, p := range k.packages {
		plan.Packages = append(plan.Packages, p.Name)
	}
	for _, f := range k.Job.Image.Files {
		plan.Paths = append(plan.Paths, f.Path)
	}
	for _, u := range k.Job.Image.Users {
		plan.Paths = append(plan.Paths, u.Home)
	}
	file, err := jsonFile(plan)
	if err != nil {
		return root, err
	}
	exec := k.script("cut.py", map[string]factory.File{ownDir + "/cut.py": {Data: cutScript}, ownDir + "/plan.json": file}, llb.WithCustomName(cutPrefix+k.title()))
	return exec.AddMount(factory.TargetMount, root).Platform(ociPlatform(k.platform)), nil
}

// childOf describes the whole of a child, and says which packages it fetches and how the image is configured.
func (c *Client) childOf(ctx context.Context, l factory.Locked, lp factory.LockedPlatform) (root llb.State, fetched []factory.Package, config factory.Config, err error) {
	box, err := c.Toolbox()
	if err != nil {
		return root, nil, config, err
	}
	b := batch{Locked: l, platform: lp.Platform, packages: lp.Packages}
	if b.toolbox, err = unmarshal(box); err != nil {
		return root, nil, config, err
	}
	k, err := c.child(b)
	if err != nil {
		return root, nil, config, err
	}
	if root, err = k.extend(c); err != nil {
		return root, nil, config, err
	}
	switch img := l.Job.Image; {
	case img.Dockerfile != "":
		root, err = c.dockerfile(ctx, k, root)
	case len(img.Only) > 0:
		if root, err = k.add(root); err == nil {
			root, err = k.cut(root)
		}
	default:
		root, err = k.add(root)
	}
	if err == nil {
		config, err = k.configured()
	}
	return root, k.more, config, err
}
