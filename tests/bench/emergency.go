package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	mending = 3 * time.Minute // a base and its children, from the question to the proof
	behind  = "openssl"       // what the archive of security updates has a newer version of, as good as always
)

// small are packages that children add, one each.
var small = []string{"bc", "ed", "file", "gettext-base", "jq", "less", "m4", "patch", "tree", "zip"}

// emergency measures how long it takes until a base and ten children that lack a security update are rebuilt, released and proven. They
// are made without the archives of updates, which are there again afterwards.
func (b *workbench) emergency(ctx context.Context) ([]row, error) {
	say("a base without its updates, and %d children", len(small))
	apart := *b
	apart.state = filepath.Join(b.work, ".factory-emergency")
	if err := apart.takeToolbox(); err != nil {
		return nil, err
	}
	dir := filepath.Join(b.work, "emergency")
	if err := errors.Join(os.CopyFS(dir, os.DirFS(b.one)), children(dir)); err != nil {
		return nil, err
	}
	definition := filepath.Join(dir, "baseimages", subject, "image.yaml")
	whole, err := os.ReadFile(definition)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(dropLines(definition, "bookworm-updates"), dropLines(definition, "bookworm-security")); err != nil {
		return nil, err
	}
	var before night
	if err := apart.factory(ctx, dir, &before, "nightly"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(definition, whole, 0o644); err != nil {
		return nil, err
	}
	var mended struct {
		Images []struct{ Image, Error string }
		Phases []struct {
			Phase   string
			Seconds float64
		}
	}
	say("emergency (once)")
	began := time.Now()
	if err := apart.factory(ctx, dir, &mended, "emergency", "CVE-2099-0001", "--package", behind); err != nil {
		return nil, err
	}
	took := time.Since(began)
	i := slices.IndexFunc(mended.Images, func(m struct{ Image, Error string }) bool { return m.Error != "" })
	if len(mended.Images) != 1+len(small) || i >= 0 {
		return nil, fmt.Errorf("not every image was mended: %+v", mended.Images)
	}
	var phases []string
	for _, p := range mended.Phases {
		phases = append(phases, fmt.Sprintf("%s %.1f s", p.Phase, p.Seconds))
	}
	return []row{{What: fmt.Sprintf("emergency, a base and %d children", len(small)), Measured: seconds(took), Target: "≤ " + seconds(mending), Met: took <= mending,
		Notes: []string{strings.Join(phases, ", ") + "; " + behind + " in all of them; locks, the few new packages and the verification are in it"}}}, nil
}

// children puts one child for each small package into a repository, and lets its data be as old as a base without updates makes it.
func children(dir string) error {
	var errs []error
	write := func(text string, path ...string) {
		file := filepath.Join(append([]string{dir}, path...)...)
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
	}
	change := func(file, old, text string) {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil && !strings.Contains(string(b), old) {
			err = fmt.Errorf("%s says nothing of %q", file, old)
		}
		errs = append(errs, err)
		write(strings.ReplaceAll(string(b), old, text), file)
	}
	var owners, code strings.Builder
	for _, name := range small {
		child := "with-" + name
		write(fmt.Sprintf("from: %s\nsummary: one more package\npackages:\n  include: [%s]\n", subject, name), "baseimages", child, "image.yaml")
		write(fmt.Sprintf("packages:\n  present: [%s]\n", name), "baseimages", child, "tests.yaml")
		write(fmt.Sprintf("image: %s\nwaivers: []\n", child), "baseimages", child, "waivers.yaml")
		fmt.Fprintf(&owners, "  %s: platform-linux\n", child)
		fmt.Fprintf(&code, "/baseimages/%s/  @example/platform-linux\n", child)
	}
	change("baseimages/owners.yaml", "  toolbox:", owners.String()+"  toolbox:")
	change("CODEOWNERS", "/baseimages/toolbox/", code.String()+"/baseimages/toolbox/")
	change("baseimages/policy.yaml", "maxAge: 7d", "maxAge: 900d")
	return errors.Join(errs...)
}
