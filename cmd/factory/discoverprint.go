package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// printFound shows what was found on stdout, and what was looked at, and what was not, on stderr.
func (d *discovery) printFound() error {
	slices.SortFunc(d.told.Found, func(a, b factory.Observed) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), b.Created.Compare(a.Created), cmp.Compare(a.Tag, b.Tag))
	})
	slices.SortFunc(d.told.NotLookedAt, func(a, b factory.Look) int { return cmp.Compare(a.Repository, b.Repository) })
	show := d.printTable
	switch {
	case d.JSON:
		show = func() error { return d.printJSON(d.told) }
	case d.YAML:
		show = d.printEntries
	}
	if err := show(); err != nil {
		return err
	}
	for _, line := range d.summary() {
		fmt.Fprintln(d.w.Stderr, clean(line))
	}
	return nil
}

func (d *discovery) printTable() error {
	var text [][]string
	for _, o := range d.told.Found {
		made := "unknown"
		if !o.Created.IsZero() {
			made = ago(d.told.At, o.Created)
		}
		text = append(text, []string{o.Repository, o.Tag, o.Digest.Short(), made, o.Image, cmp.Or(d.tags[o.Release], o.Release, "unknown"), knownBy(o), cmp.Or(o.Dependent, "-")})
	}
	return d.table([]string{"REPOSITORY", "TAG", "DIGEST", "MADE", "BASE", "RELEASE", "BY", "DEPENDENT"}, text)
}

// knownBy is how it is known what an image is built on.
func knownBy(o factory.Observed) string {
	if o.Of == 0 {
		return o.By
	}
	return fmt.Sprintf("%s, %d of %d layers", o.By, o.Layers, o.Of)
}

// entryName is what the name of an entry cannot have.
var entryName = regexp.MustCompile(`[^a-z0-9]+`)

// printEntries prints what dependents.yaml lacks.
func (d *discovery) printEntries() error {
	out := d.out()
	for _, o := range d.unlisted() {
		name := entryName.ReplaceAllString(strings.TrimPrefix(o.Repository, d.Host+"/"), "-")
		fmt.Fprintf(out, `- name: %[1]s
  repository: # of its source: team/app
  image: %[2]s
  env: prod
  owner: # the team that answers for it
  publishes: [%[3]s]
  tell:
    how: # github-pull-request, github-workflow-dispatch, gitlab-pipeline, jenkins, webhook
    server: # an id from servers: in factory.yaml
`, name, o.Image, o.Repository)
	}
	return nil
}

// unlisted is one image of each repository that belongs to nobody.
func (d *discovery) unlisted() []factory.Observed {
	var all []factory.Observed
	for _, o := range d.told.Found {
		if o.Dependent == "" && (len(all) == 0 || all[len(all)-1].Repository != o.Repository) {
			all = append(all, o)
		}
	}
	return all
}

// summary is what was looked at and what was not, so that the sums add up.
func (d *discovery) summary() []string {
	t := d.told
	lines := []string{
		fmt.Sprintf("%s: %s, %d looked at, %d our own, %d not there or not shown to us, %d not looked at whole", t.Registry, counted(t.Repositories, "repository", "repositories"), t.Looked, t.Ours, t.Missing, len(t.NotLookedAt)),
		fmt.Sprintf("%s in them: %d images looked at, %d older ones not asked for%s", count(t.Tags, "tag"), t.Images, t.Older, map[bool]string{true: " (--tags all)"}[t.Older > 0]),
	}
	for _, reason := range sortedKeys(t.Skipped) {
		lines = append(lines, fmt.Sprintf("skipped: %d %s", t.Skipped[reason], reason))
	}
	if t.Copies > 0 {
		lines = append(lines, fmt.Sprintf("skipped: %d copies of our own releases", t.Copies))
	}
	const most = 20
	for i, l := range t.NotLookedAt {
		if i == most {
			lines = append(lines, fmt.Sprintf("not looked at whole: %d more; --json lists them", len(t.NotLookedAt)-most))
			break
		}
		lines = append(lines, "not looked at whole: "+l.Repository+": "+l.Problem)
	}
	unlisted := d.unlisted()
	verdict := fmt.Sprintf("%s on ours; %s looked for", counted(len(t.Found), "image is built", "images are built"), counted(t.Releases, "release was", "releases were"))
	if len(unlisted) > 0 {
		verdict += fmt.Sprintf("; %s in nobody's dependents.yaml%s", counted(len(unlisted), "repository is", "repositories are"), map[bool]string{true: ": add --yaml for entries to paste"}[!d.YAML])
	}
	if t.Recorded {
		verdict += fmt.Sprintf("; recorded, %d are gone since the last time", t.Gone)
	} else {
		verdict += "; nothing was recorded"
	}
	return append(lines, verdict)
}

// counted is "1 repository" or "2 repositories".
func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
