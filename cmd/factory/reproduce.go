package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/oci"
)

func newReproduce(mk maker) *cobra.Command {
	var env string
	c := &cobra.Command{
		Use: "reproduce REF", Short: "rebuild a release from its lock and compare, bit for bit", Args: cobra.ExactArgs(1),
		Long: `reproduce rebuilds a release from the inputs that were kept with it, from scratch, and compares the digests. When they differ it
names the first differing file and exits 5. Nothing is published. The archive must still have the packages.

` + exitHelp,
		Example: "  factory reproduce debian-12\n  factory reproduce debian-12 --env prod\n  factory reproduce 20261123-1a2b3c4d-dev",
	}
	namedFlag(c, &env)
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		db, err := c.store(ctx)
		if err != nil {
			return err
		}
		release, err := c.releaseIn(ctx, args[0], env)
		if err != nil {
			return err
		}
		if from := release.Rebased; from != nil {
			return &factory.Problem{Kind: factory.ErrInvalid, What: release.Tagged() + " was not built: it was put together from " + from.Before.Ref() + " and " + from.Onto.Ref(), Hint: "factory reproduce " + from.Before.Release}
		}
		inputs, err := db.Inputs(ctx, release.ID)
		if err != nil {
			return err
		}
		return c.leased(ctx, "reproduce", func(ctx context.Context, run string) error { return c.reproduce(ctx, run, release, inputs) })
	})
}

// reproduce makes the release again up to its packed image.
func (c *command) reproduce(ctx context.Context, run string, release factory.Release, inputs []byte) error {
	dir, err := os.MkdirTemp("", "factory-reproduce-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	img, lock, err := unpackInputs(inputs, filepath.Join(dir, "inputs"), release.Image)
	if err != nil {
		return err
	}
	line, err := c.line(ctx, run)
	if err != nil {
		return err
	}
	sameTools, err := c.oldTools(ctx, img, lock)
	if err != nil {
		return err
	}
	hardener := c.hardener()
	hardener.Now = func() time.Time { return release.Created } // exemptions that held then hold now
	built, err := line.Builder.Build(ctx, factory.Locked{Job: factory.Job{Image: img, Source: release.Source, Env: release.Tag.Env, Parent: release.Parent}, Lock: lock, Inputs: inputs, At: c.w.Now(), Fresh: c.newID()})
	if err != nil {
		return err
	}
	hard, err := hardener.Harden(ctx, built)
	if err != nil {
		return err
	}
	packed, err := line.Packer.Pack(ctx, hard)
	if err != nil {
		return err
	}
	defer line.Cleanup(packed.Artifact)
	return c.compare(ctx, release, packed.Artifact, filepath.Join(dir, "published"), sameTools)
}

// compare says whether the digests are equal, and otherwise what differs first.
func (c *command) compare(ctx context.Context, release factory.Release, again factory.Artifact, dir string, sameTools bool) error {
	same := release.Digest == again.Digest
	difference := ""
	if !same {
		err := c.registry().Fetch(ctx, release.Repository, release.Digest, dir)
		if err == nil {
			difference, err = oci.Diff(ctx, dir, again.Layout)
		}
		if err != nil {
			difference = "what differs cannot be told: " + err.Error()
		}
	}
	if c.JSON {
		if err := c.printJSON(map[string]any{"release": release.ID, "published": release.Digest, "rebuilt": again.Digest, "same": same, "difference": difference}); err != nil {
			return err
		}
	}
	if !same && !sameTools {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "nothing can be said about " + release.Tagged() + ": it was made with other tools than there are now, and the result differs",
			Cause: errors.New("first difference: " + difference), Hint: "check out the commit that made it, and run reproduce with that factory"}
	}
	if !same {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("%s is %s, rebuilt it is %s", release.Tagged(), release.Digest, again.Digest),
			Cause: errors.New("first difference: " + difference), Hint: "what was published is not what its inputs make, or the build is not reproducible"}
	}
	if !c.JSON {
		fmt.Fprintf(c.out(), "reproduced: %s is %s both times\n", release.Tagged(), release.Digest)
	}
	return nil
}

// unpackInputs restores the files that a release was made of.
func unpackInputs(inputs []byte, dir, image string) (factory.Image, factory.Lock, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return factory.Image{}, factory.Lock{}, err
	}
	if err := definition.Unpack(inputs, dir); err != nil {
		return factory.Image{}, factory.Lock{}, err
	}
	set, err := definition.Load(dir)
	if err != nil {
		return factory.Image{}, factory.Lock{}, fmt.Errorf("inputs of the release: %w", err)
	}
	img, err := set.Image(image)
	if err != nil {
		return img, factory.Lock{}, err
	}
	lock, ok, err := definition.ReadLock(dir, image)
	if err == nil && !ok {
		err = &factory.Problem{Kind: factory.ErrNotFound, What: "the release was kept without its lock"}
	}
	return img, lock, err
}

// oldTools reports whether the tools of now are those that the release was made with. Otherwise an equal digest still
// proves everything, and another one nothing.
func (c *command) oldTools(ctx context.Context, img factory.Image, made factory.Lock) (same bool, err error) {
	set, err := definition.Load(c.cfg.Dir)
	if err != nil {
		return false, err
	}
	box, err := c.boxLock(set)
	if err != nil {
		return false, err
	}
	have, err := c.toolbox(ctx, box.image, box.lock)
	if err != nil {
		return false, err
	}
	same = maps.Equal(made.Tools, tools(have, img))
	if !same {
		c.events.Emit(factory.Event{Kind: factory.Warned, Message: "the release was made with another toolbox or version of the factory"})
	}
	return same, nil
}
