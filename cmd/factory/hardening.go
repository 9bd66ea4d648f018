package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/openscap"
)

func newHardening(mk maker) *cobra.Command {
	parent := &cobra.Command{Use: "hardening", Short: "the hardening profiles", Long: "The hardening profiles lie in ansible/profiles.\n\n" + exitHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	lint := &cobra.Command{
		Use: "lint", Short: "compare the profiles with the benchmark's content and with what the newest releases show",
		Long: `lint lists, for each profile, controls that no benchmark version knows, controls that never changed anything on a stock image, and
rules that fail and that no control addresses, by the newest release of every image. Each can be explained in the profile; what is not
explained makes exit code 2.

` + exitHelp,
		Example: "  factory hardening lint\n  factory hardening lint --json",
	}
	parent.AddCommand(leaf(lint, mk, func(ctx context.Context, c *command, _ []string) error { return c.lintHardening(ctx) }))
	return parent
}

// profileData is what is known of the images that use a profile.
type profileData struct {
	images   []string
	without  []string              // images without a release
	rules    []factory.RuleOutcome // of every distribution's content
	outcomes []factory.ControlOutcome
	proven   []factory.Compliance
}

func (c *command) lintHardening(ctx context.Context) error {
	set, err := definition.Load(c.cfg.Dir)
	if err != nil {
		return err
	}
	data, err := c.profileData(ctx, set)
	if err != nil {
		return err
	}
	all, unexplained := []definition.LintFinding{}, 0
	var text [][]string
	for _, name := range sortedKeys(data) {
		profile, err := definition.LoadProfile(c.cfg.Dir, name)
		if err != nil {
			return err
		}
		d := data[name]
		for _, f := range profile.Lint(d.rules, d.outcomes, d.proven) {
			all = append(all, f)
			if f.Explained == "" {
				unexplained++
			}
			text = append(text, []string{string(f.Kind), f.Control + f.Rule, f.Text, f.Explained, f.Where.String()})
		}
		c.say("%s", d.said(name))
	}
	if c.JSON {
		err = c.printJSON(all)
	} else {
		err = c.table([]string{"KIND", "CONTROL OR RULE", "WHAT", "EXPLAINED", "WHERE"}, text)
	}
	if err != nil {
		return err
	}
	if unexplained > 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%d of %d are not explained", unexplained, len(all)), Hint: "mend the role, or say why in the profile: explained"}
	}
	return nil
}

// profileData gathers the newest release of each image and the content of its distribution, by profile.
func (c *command) profileData(ctx context.Context, set definition.Set) (map[string]*profileData, error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	box, err := c.boxLock(set)
	if err != nil {
		return nil, err
	}
	data := map[string]*profileData{}
	for _, img := range set.Images {
		if img.Kind == factory.KindToolbox || img.Hardening.Profile == "" {
			continue
		}
		if _, err := c.toolbox(ctx, box.image, box.lock); err != nil {
			return nil, err
		}
		rules, err := openscap.Prover{Runner: c.build(), Events: c.events}.Benchmark(ctx, img.Distro)
		if err != nil && !errors.Is(err, factory.ErrNotFound) { // which is said of a distribution without any content
			return nil, err
		}
		d := data[img.Hardening.Profile]
		if d == nil {
			d = &profileData{}
			data[img.Hardening.Profile] = d
		}
		d.rules = append(d.rules, rules...)
		r, err := db.Release(ctx, img.Name)
		if errors.Is(err, factory.ErrNotFound) {
			d.without = append(d.without, img.Name)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", img.Name, err)
		}
		d.images = append(d.images, img.Name)
		d.outcomes = append(d.outcomes, r.Controls...)
		d.proven = append(d.proven, r.Compliance.Waive(img.Waivers, factory.DateOf(c.w.Now())))
	}
	return data, nil
}

// said is what the profile was looked at with, and what not.
func (d *profileData) said(profile string) string {
	text := profile + ": looked at with the newest releases of " + strings.Join(d.images, ", ")
	if len(d.images) == 0 {
		text = profile + ": looked at with the benchmark's content alone"
	}
	if len(d.without) > 0 {
		text += "; there is no release of " + strings.Join(d.without, ", ")
	}
	return text
}

// boxLock is the toolbox as it is locked.
func (c *command) boxLock(set definition.Set) (toolboxState, error) {
	img, err := set.Image(boxName(set))
	if err != nil {
		return toolboxState{}, err
	}
	lock, ok, err := definition.ReadLock(c.cfg.Dir, img.Name)
	if err == nil && !ok {
		err = noLock(img.Name)
	}
	return toolboxState{image: img, lock: lock, digest: lock.Digest}, err
}
