package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// repositories are those to look at, and those that were looked at once and are in the registry's catalogue no more.
func (d *discovery) repositories(ctx context.Context) (names, vanished []string, err error) {
	if d.File != "" {
		names, err = d.listed()
		return names, nil, err
	}
	all, err := d.registry().Catalogue(ctx, d.Host, d.Path)
	if err != nil {
		return nil, nil, err
	}
	if all.Odd > 0 {
		d.told.Skipped["repositories whose names are none"] = all.Odd
	}
	if d.told.Cut = all.Cut; all.Cut != "" {
		return all.Repositories, nil, nil
	}
	looks, err := d.db.Looks(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, l := range looks {
		if d.below(l.Repository) && !slices.Contains(all.Repositories, l.Repository) {
			vanished = append(vanished, l.Repository)
		}
	}
	return all.Repositories, vanished, nil
}

// below reports whether a repository is one of those that were asked for.
func (d *discovery) below(repository string) bool {
	root := strings.TrimSuffix(d.Host+"/"+d.Path, "/")
	return repository == root || strings.HasPrefix(repository, root+"/")
}

// maxListed bounds a list of repositories: it is read from a pipe, too.
const maxListed = 200_000

// listed reads the file with repositories: with the registry's host or without, blank lines and comments left out.
func (d *discovery) listed() (names []string, err error) {
	from := d.w.Stdin
	if d.File != "-" {
		f, err := os.Open(d.File)
		if err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "list of repositories", Cause: err}
		}
		defer f.Close()
		from = f
	}
	if from == nil {
		from = strings.NewReader("")
	}
	lines := bufio.NewScanner(io.LimitReader(from, 64<<20))
	for n := 1; lines.Scan(); n++ {
		name := strings.TrimSpace(lines.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		if !strings.HasPrefix(name, d.Host+"/") {
			name = d.Host + "/" + name
		}
		if _, err := factory.ParseRepository(name); err != nil || !d.below(name) || len(names) >= maxListed {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.120q is no repository of %s", lines.Text(), strings.TrimSuffix(d.Host+"/"+d.Path, "/")),
				Where: factory.Position{File: d.File, Line: n}, Hint: "one repository a line, as in team/app, without tags; at most 200000"}
		}
		names = append(names, name)
	}
	if err := lines.Err(); err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "list of repositories", Where: factory.Position{File: d.File}, Cause: err}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
