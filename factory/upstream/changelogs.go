package upstream

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

//go:embed changelogs.sh
var changelogsScript string

// candidates is how many packages of one source are looked into for its changelog. Several, because a package may only
// link to the documentation of another.
const candidates = 4

// changelogs returns the compressed changelog of each group of packages, nil where none could be had: from the cache, or
// from the first package of the group that has one. files are further inputs of the step, which runs only when there is
// something to fetch or files has something. An Exit of its result other than 0 means that something could not be fetched.
func (s Solver) changelogs(ctx context.Context, image string, groups [][]factory.Package, files map[string]factory.File) ([][]byte, factory.StepResult, error) {
	texts := make([][]byte, len(groups))
	cache := shelf{s.Cache}
	var wanted strings.Builder
	progress := func() {
		had := slices.DeleteFunc(slices.Clone(texts), func(b []byte) bool { return b == nil })
		s.Events.Emit(factory.Event{Kind: factory.Advanced, Image: image, Step: factory.StepResolve, Message: "reading changelogs", Current: int64(len(had)), Total: int64(len(groups)), Unit: "sources"})
	}
	for i, g := range groups {
		g = g[:min(candidates, len(g))]
		if texts[i] = cache.first(g); texts[i] != nil {
			continue
		}
		for _, p := range g {
			base, err := archiveURL(p.Archive, s.Archives[p.Archive])
			if err != nil {
				return nil, factory.StepResult{}, err
			}
			fmt.Fprintf(&wanted, "%d %s %s/%s %s\n", i, p.Name, base, p.Path, p.SHA256.Hex())
		}
	}
	progress()
	if wanted.Len() == 0 && len(files) == 0 {
		return texts, factory.StepResult{}, nil
	}
	in := map[string]factory.File{
		path.Join(inDir, "changelogs.sh"): {Data: []byte(changelogsScript)},
		path.Join(inDir, "apt.conf"):      {Data: []byte(aptConf)},
		path.Join(inDir, "wanted"):        {Data: []byte(wanted.String())},
	}
	for name, f := range files {
		in[name] = f
	}
	res, err := s.Runner.Run(ctx, s.step(image, "changelogs", "changelogs.sh", in))
	if err != nil {
		return nil, res, err
	}
	var kept error
	for i, g := range groups {
		for _, p := range g[:min(candidates, len(g))] {
			if b := res.Output[p.SHA256.Hex()+".gz"]; texts[i] == nil && len(b) > 0 {
				texts[i] = b
				kept = errors.Join(kept, cache.put(p, b))
			}
		}
	}
	progress()
	if kept != nil { // no reason to lose what was read
		s.warn(image, "changelogs must be fetched again the next time: "+kept.Error())
	}
	return texts, res, nil
}

// shelf keeps changelogs by the digest of the package that they were taken out of, in a folder below dir. Each file begins
// with the digest of the rest. An empty dir keeps nothing.
type shelf struct{ dir string }

// shelfRoom is how many changelogs are kept.
const shelfRoom = 1000

func (c shelf) folder() string { return filepath.Join(c.dir, "changelogs") }

func (c shelf) file(p factory.Package) string { return filepath.Join(c.folder(), p.SHA256.Hex()) }

// first returns the changelog of the first package that has one here; nil = none. A damaged one counts as none.
func (c shelf) first(pkgs []factory.Package) []byte {
	if c.dir == "" {
		return nil
	}
	for _, p := range pkgs {
		b, err := os.ReadFile(c.file(p))
		if err != nil {
			continue
		}
		if sum, text, ok := strings.Cut(string(b), "\n"); ok && text != "" && sum == string(factory.DigestOf([]byte(text))) {
			return []byte(text)
		}
	}
	return nil
}

func (c shelf) put(p factory.Package, text []byte) error {
	if c.dir == "" {
		return nil
	}
	return replaceFile(c.file(p), append([]byte(factory.DigestOf(text)+"\n"), text...))
}

// prune removes the oldest when there are more than room.
func (c shelf) prune(room int) error {
	entries, err := os.ReadDir(c.folder())
	if errors.Is(err, fs.ErrNotExist) || c.dir == "" {
		return nil
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, f := range files[:max(0, len(files)-room)] {
		err = errors.Join(err, os.Remove(filepath.Join(c.folder(), f.Name())))
	}
	return err
}

// replaceFile writes a file whole or not at all, and makes its folder.
func replaceFile(name string, b []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
