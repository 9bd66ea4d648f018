package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
)

// namedFlag adds --env to a command that looks at a release: which one is meant by the name of an image.
func namedFlag(c *cobra.Command, env *string) {
	envFlag(c, env, "of an image, the release that is in force in this environment (default the newest)")
}

// release is the recorded release that ref names.
func (c *command) release(ctx context.Context, ref string) (factory.Release, error) {
	db, err := c.store(ctx)
	if err != nil {
		return factory.Release{}, err
	}
	return db.Release(ctx, ref)
}

// releaseIn is release, or where an environment is given the release of an image that is in force there.
func (c *command) releaseIn(ctx context.Context, ref, env string) (factory.Release, error) {
	r, err := c.release(ctx, ref)
	if err != nil || env == "" {
		return r, err
	}
	in, err := factory.ParseEnv(env)
	if err != nil {
		return r, err
	}
	if r.Image != ref {
		return r, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s is one release already, so --env cannot choose one", ref), Hint: fmt.Sprintf("name the image, %s, or leave out --env", r.Image)}
	}
	db, err := c.store(ctx)
	if err != nil {
		return r, err
	}
	entries, err := db.Standing(ctx)
	if err != nil {
		return r, err
	}
	i := slices.IndexFunc(entries, func(e factory.Entry) bool { return e.Image == ref && e.Env == in })
	if i < 0 {
		return r, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no release of %s is in force in %s", ref, in), Hint: "factory releases " + ref + " lists what there is"}
	}
	return db.Release(ctx, entries[i].Release)
}

// published is where a release is that somebody names, by digest, and which one that is; of a whole reference nothing is looked up.
func (c *command) published(ctx context.Context, ref, env string) (where, taken string, err error) {
	if strings.Contains(ref, "/") {
		return ref, "", nil
	}
	const whole = "name it whole, as in registry.example.com/base/debian-12:20261123-1a2b3c4d-prod"
	if !c.remembers() {
		return "", "", &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("there is no database here that knows a release %.120q", ref), Hint: whole + ", or say where the database is: --database"}
	}
	r, err := c.releaseIn(ctx, ref, env)
	var p *factory.Problem
	if errors.Is(err, factory.ErrNotFound) && errors.As(err, &p) {
		p.Hint += "; or " + whole
	}
	return r.Ref(), fmt.Sprintf("%s is %s, %s", ref, r.Tagged(), r.Digest), err
}

// remembers reports whether there is a database, without making one.
func (c *command) remembers() bool {
	file, local := strings.CutPrefix(c.cfg.Database, "sqlite:")
	if strings.Contains(c.cfg.Database, "://") && !local {
		return true
	}
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}
