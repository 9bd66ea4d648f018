package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/adoption"
	"github.com/imagefactory/imagefactory/factory/registry"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newDiscover(mk maker) *cobra.Command {
	var o discoverOptions
	var tags string
	c := &cobra.Command{
		Use: "discover REGISTRY[/PATH]", Short: "find the images in a registry that are built on ours", Args: cobra.ExactArgs(1),
		Long: `discover reads a registry and finds the images that are built on one of our releases, also on old ones: by what they say of their base
(org.opencontainers.image.base.name and .digest), and by the layers that they share with a release, from the bottom. It looks at one
platform of each image, linux/amd64 where there is one. What was squashed, or compressed and unpacked in another way, shares no layers
and is found only when it says what it is built on.

What is found is recorded, with when it was looked at; what has vanished since is marked as gone. No registry says when a tag was made,
so the newest tags are those that names tell: latest, then downwards, with numbers compared as numbers.

Many registries show nobody what repositories they have: name them in a file, one a line, or pipe them in.

` + exitHelp,
		Example: "  factory dependents discover registry.example.com\n  factory dependents discover registry.example.com/payments --tags all --dry-run\n" +
			"  factory dependents discover registry.example.com --repositories repositories.txt --yaml",
	}
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "record nothing")
	c.Flags().StringVar(&o.File, "repositories", "", "file with the repositories to look at, one a line; - is stdin (default: the registry's catalogue)")
	c.Flags().StringVar(&tags, "tags", "3", "newest tags of each repository to look at, or all")
	c.Flags().IntVar(&o.Width, "width", 8, "repositories to look at at once")
	c.Flags().BoolVar(&o.YAML, "yaml", false, "print an entry for dependents.yaml for each repository that belongs to nobody, instead of the table")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		if err := o.read(args[0], tags); err != nil {
			return err
		}
		return (&discovery{command: c, discoverOptions: o}).run(ctx)
	})
}

// discoverOptions say where to look, and how far.
type discoverOptions struct {
	Host, Path   string
	File         string
	Tags, Width  int // Tags 0 = all
	DryRun, YAML bool
}

// read checks what was typed.
func (o *discoverOptions) read(where, tags string) error {
	o.Host, o.Path, _ = strings.Cut(strings.TrimSuffix(where, "/"), "/")
	probe := o.Host + "/x"
	if o.Path != "" {
		probe = o.Host + "/" + o.Path
	}
	if _, err := factory.ParseRepository(probe); err != nil {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.120q is no registry", where), Hint: "write it like registry.example.com or registry.example.com/team"}
	}
	if o.Width < 1 || o.Width > 64 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("--width %d", o.Width), Hint: "expected 1 to 64"}
	}
	if tags == "all" {
		return nil
	}
	n, err := strconv.Atoi(tags)
	if err != nil || n < 1 {
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("--tags %.20q", tags), Hint: "expected a number, or all"}
	}
	o.Tags = n
	return nil
}

// discovery is one walk through a registry.
type discovery struct {
	*command
	discoverOptions

	index      *adoption.Index
	dependents []factory.Dependent
	tags       map[string]string // by release
	db         *store.Store
	pending    []store.Sighting
	copies     atomic.Int64
	told       discovered
}

// discovered is what a discovery found, and what it did not look at.
type discovered struct {
	Registry     string             `json:"registry"`
	At           time.Time          `json:"at"`
	Recorded     bool               `json:"recorded"`
	Releases     int                `json:"releases"`     // of ours that were looked for
	Repositories int                `json:"repositories"` // that there are
	Ours         int                `json:"ours"`         // of these, the factory's own
	Missing      int                `json:"missing"`      // of these, that are not there or not shown
	Looked       int                `json:"looked"`       // of these, read whole
	Tags         int                `json:"tags"`         // in those that could be read
	Older        int                `json:"older"`        // of these, that nobody asked for
	Skipped      map[string]int     `json:"skipped"`      // of these, that name no image, by why
	Images       int                `json:"images"`       // that were looked at
	Copies       int                `json:"copies"`       // of these, of our releases themselves
	Found        []factory.Observed `json:"found"`
	Gone         int                `json:"gone"` // seen earlier, and not there any more
	NotLookedAt  []factory.Look     `json:"notLookedAt"`
	Cut          string             `json:"cut,omitempty"` // why the catalogue may have more
}

// recordEvery is how many repositories are recorded at once: each time costs a write to the disk.
const recordEvery = 50

func (d *discovery) run(ctx context.Context) error {
	set, err := d.definitions()
	if err != nil {
		return err
	}
	if d.db, err = d.store(ctx); err != nil {
		return err
	}
	releases, err := d.db.Bases(ctx)
	if err != nil {
		return err
	}
	if len(releases) == 0 {
		return &factory.Problem{Kind: factory.ErrNotFound, What: "there is no release yet that anybody could build on", Hint: "factory nightly makes the first"}
	}
	d.index, d.dependents, d.tags = adoption.NewIndex(releases), declaredDependents(set), map[string]string{}
	d.told = discovered{Registry: d.Host, At: d.w.Now().UTC(), Recorded: !d.DryRun, Releases: len(releases), Skipped: map[string]int{}, Found: []factory.Observed{}, NotLookedAt: []factory.Look{}}
	if d.cfg.Embedded && d.Host == d.cfg.Addr {
		if err := d.serveRegistry(ctx); err != nil {
			return err
		}
	}
	names, vanished, err := d.repositories(ctx)
	if err != nil {
		return err
	}
	d.told.Repositories = len(names)
	ours := map[string]bool{}
	for _, r := range releases {
		ours[r.Repository], d.tags[r.ID] = true, r.Tag.String()
	}
	names = slices.DeleteFunc(names, func(name string) bool { return ours[name] })
	d.told.Ours = d.told.Repositories - len(names)
	walk := registry.Walk{Client: d.registry(), Width: d.Width, Tags: d.Tags, Match: d.match}
	err = walk.Run(ctx, names, func(l registry.Looked) error { return d.see(ctx, l) })
	for _, name := range vanished {
		if err == nil {
			err = d.sight(ctx, store.Sighting{Look: factory.Look{Repository: name, At: d.told.At}})
		}
	}
	// What was read before an interruption is worth keeping.
	if err := errors.Join(err, d.record(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	d.told.Copies = int(d.copies.Load())
	return errors.Join(d.printFound(), d.partial())
}

// match is asked of each image: one of our own is nobody's, wherever it lies.
func (d *discovery) match(c factory.Candidate) (factory.Observed, bool) {
	if d.index.Ours(c) {
		d.copies.Add(1)
		return factory.Observed{}, false
	}
	o, built := d.index.Match(c)
	if owner := adoption.Owner(d.dependents, c.Repository); owner != nil {
		o.Dependent = owner.Name
	}
	o.At = d.told.At
	return o, built
}

// see takes in what was read of one repository.
func (d *discovery) see(ctx context.Context, l registry.Looked) error {
	look := factory.Look{Repository: l.Repository, At: d.told.At, Tags: l.Tags, Read: l.Read(), Found: len(l.Found), Problem: unreadable(l)}
	d.told.Tags += l.Tags
	d.told.Images += l.Images
	for reason, n := range l.Skipped {
		d.told.Skipped[reason] += n
	}
	d.told.Older += l.Older
	d.told.Found = append(d.told.Found, l.Found...)
	switch {
	case look.Problem != "":
		d.told.NotLookedAt = append(d.told.NotLookedAt, look)
	case l.Missing:
		d.told.Missing++
	default:
		d.told.Looked++
	}
	return d.sight(ctx, store.Sighting{Look: look, Images: l.Found, Spared: l.Unread, Blind: l.Blind})
}

// unreadable is what could not be read of a repository, for people; empty = nothing.
func unreadable(l registry.Looked) string {
	var all []string
	for _, err := range l.Problems {
		text := oneLine(err.Error())
		if p := factory.Problems(err); len(p) > 0 && p[0].Hint != "" {
			text = oneLine((&factory.Problem{What: p[0].What, Cause: p[0].Cause}).Error()) + " (" + p[0].Hint + ")"
		}
		all = append(all, text)
	}
	if l.More > 0 {
		all = append(all, fmt.Sprintf("and %d more", l.More))
	}
	return strings.Join(all, "; ")
}

// oneLine is text on one line, as much of it as a person reads: a registry may answer with a page.
func oneLine(text string) string {
	const most = 240
	if text = strings.Join(strings.Fields(text), " "); len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func (d *discovery) sight(ctx context.Context, s store.Sighting) error {
	d.pending = append(d.pending, s)
	if len(d.pending) < recordEvery {
		return nil
	}
	return d.record(ctx)
}

func (d *discovery) record(ctx context.Context) error {
	pending := d.pending
	if d.pending = nil; d.DryRun || len(pending) == 0 {
		return nil
	}
	gone, err := d.db.Observe(ctx, pending)
	d.told.Gone += gone
	return err
}

// partial is an error when something was not looked at.
func (d *discovery) partial() error {
	n := len(d.told.NotLookedAt)
	if n == 0 && d.told.Cut == "" {
		return nil
	}
	p := &factory.Problem{Kind: errPartial, What: fmt.Sprintf("%s of %d could not be looked at whole", counted(n, "repository", "repositories"), d.told.Repositories), Hint: "what was recorded of them before still stands; run it again"}
	if d.told.Cut != "" {
		p.What = "the registry's catalogue may have more: " + d.told.Cut
	}
	return p
}
