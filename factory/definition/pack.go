package definition

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Pack returns a tar of the image's inputs and of what else is needed to Load the image again, with the digest of the
// inputs alone: a team that changes its contacts is no reason to build. Same files, same bytes.
func Pack(dir string, img factory.Image) ([]byte, factory.Digest, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, "", err
	}
	defer t.close()
	inputs, err := t.files(img.Inputs...)
	if err != nil {
		return nil, "", err
	}
	owners, err := t.ownersOf(img)
	if err != nil {
		return nil, "", err
	}
	all := slices.Concat(inputs, owners)
	slices.SortFunc(all, func(a, b inputFile) int { return cmp.Compare(a.name, b.name) })
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range all {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.data)), Mode: 0o644, ModTime: time.Unix(0, 0)}
		if f.exec {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, "", fmt.Errorf("packing %s: %w", f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, "", fmt.Errorf("packing %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", fmt.Errorf("packing %s: %w", img.Name, err)
	}
	return b.Bytes(), contentDigest(inputs, ""), nil
}

// ownersOf returns owners.yaml and CODEOWNERS reduced to one image and those that it is built on.
func (t tree) ownersOf(img factory.Image) ([]inputFile, error) {
	l := &loader{tree: t}
	l.readOwners()
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	teams, images := map[string]string{}, strings.Builder{}
	var code strings.Builder
	for _, name := range folders(img) {
		named := img.Owner.Team
		if r, ok := l.owners.Images.find(name); ok && name != img.Name {
			named = r.Value.Value
		}
		team, ok := l.owners.Teams.find(named)
		if !ok {
			return nil, problem(factory.Position{File: ownersPath}, nearest(named, l.owners.Teams.names()), "no team %.80q, which owns %s", named, name)
		}
		teams[named] = fmt.Sprintf("  %s:\n    contacts: [%s]\n    codeowners: [%s]\n", named, quoted(team.Value.Contacts), quoted(team.Value.Codeowners))
		fmt.Fprintf(&images, "  %s: %s\n", name, named)
		fmt.Fprintf(&code, "%s %s\n", codePattern(name), strings.Join(plain(team.Value.Codeowners), " "))
	}
	y := "teams:\n"
	for _, team := range slices.Sorted(maps.Keys(teams)) {
		y += teams[team]
	}
	y += "images:\n" + images.String()
	return []inputFile{{name: ownersPath, data: []byte(y)}, {name: codeownersPath, data: []byte(code.String())}}, nil
}

// folders are the names of the image and of those that it is built on, sorted: their folders are inputs.
func folders(img factory.Image) (names []string) {
	for _, input := range img.Inputs {
		if dir, name := path.Split(input); dir == folder+"/" {
			names = append(names, name)
		}
	}
	return names
}

func quoted(texts []text) string {
	var all []string
	for _, t := range texts {
		all = append(all, fmt.Sprintf("%q", t.Value))
	}
	return strings.Join(all, ", ")
}

const maxEntries = 10000 // files in one tar of inputs

// Unpack writes what Pack made into dir, an existing folder. The tar may come from anybody: an entry that is no plain
// file, lies outside dir, exists already or makes the whole too large is refused.
func Unpack(b []byte, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return &factory.Problem{Kind: factory.ErrNotFound, What: "unpacking the inputs", Where: factory.Position{File: dir}, Cause: bare(err)}
	}
	defer root.Close()
	if err := checkTar(b); err != nil { // all of it before the first file is written
		return err
	}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = unpackFile(root, h, r)
		}
		if err != nil {
			return &factory.Problem{Kind: kindOf(err), What: "unpacking", Where: place(h), Cause: bare(err)}
		}
	}
}

func checkTar(b []byte) error {
	r := tar.NewReader(bytes.NewReader(b))
	var size int64
	for entries := 0; ; entries++ {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "the inputs are no tar", Cause: err}
		}
		size += h.Size
		switch {
		case h.Typeflag != tar.TypeReg:
			return problem(place(h), "", "the tar of inputs holds something else than a file")
		case !fs.ValidPath(h.Name) || h.Name == "." || strings.ContainsAny(h.Name, "\\\x00"):
			return problem(place(h), "", "the path leaves the folder")
		case h.Size > maxInput || size > maxInputs+maxInput || entries >= maxEntries:
			return problem(place(h), "", "the tar of inputs is too large")
		}
	}
}

func place(h *tar.Header) factory.Position {
	if h == nil {
		return factory.Position{}
	}
	return factory.Position{File: strings.ToValidUTF8(h.Name[:min(len(h.Name), 200)], "?")}
}

func unpackFile(root *os.Root, h *tar.Header, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if h.Mode&0o100 != 0 {
		mode = 0o755
	}
	f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func kindOf(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return factory.ErrConflict
	}
	return factory.ErrInvalid
}
