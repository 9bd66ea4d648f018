package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"
)

func newDB(mk maker) *cobra.Command {
	parent := &cobra.Command{Use: "db", Short: "the vulnerability data: update, build, status",
		Long: `The vulnerability data comes from where the setting vulnerabilities says: a folder or a reference of your own, else (auto) the public
database, else what the archives say themselves: Debian's in their packages' changelogs, RPM repositories in updateinfo. It is installed whole or not at all.

` + exitHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	update := &cobra.Command{Use: "update", Short: "get the newest data now",
		Long: "update gets the newest vulnerability data, as configured, whatever its age. nightly and rescan do so by themselves when it is older\nthan six hours.\n\n" + exitHelp}
	build := &cobra.Command{Use: "build", Short: "make a database from what the archives say themselves",
		Long: "build reads, for the packages in the locks, Debian's changelogs and the RPM repositories' updateinfo, and makes a database of what they\nsay was fixed. It knows fixes and since when, and not what is not fixed yet; severities it knows of updateinfo only.\n\n" + exitHelp}
	status := &cobra.Command{Use: "status", Short: "which data there is, how old, from where",
		Long: "status lists the vulnerability data that is installed, and a folder that is configured. It gets nothing.\n\n" + exitHelp}
	parent.AddCommand(
		leaf(update, mk, func(ctx context.Context, c *command, _ []string) error { return c.dbUpdate(ctx) }),
		leaf(build, mk, func(ctx context.Context, c *command, _ []string) error {
			first, _ := c.scannerClients()
			_, d, err := c.archiveData(ctx, first, true)
			return errors.Join(err, c.printData(err, d))
		}),
		leaf(status, mk, func(ctx context.Context, c *command, _ []string) error { return c.dbStatus(ctx) }),
	)
	return parent
}

// dbUpdate gets the data that is configured. Falling back is for nights; who asks for an update wants to know.
func (c *command) dbUpdate(ctx context.Context) error {
	g, _ := c.scannerClients()
	source := c.cfg.Vulnerabilities
	refs := []string{source}
	switch {
	case source == "archive":
		_, d, err := c.archiveData(ctx, g, true)
		return errors.Join(err, c.printData(err, d))
	case isFolder(source):
		d, err := scanner.InPlace(ctx, source, g.Check)
		return errors.Join(err, c.printData(err, d))
	case source == "auto":
		hello, err := g.Hello(ctx)
		if err != nil {
			return err
		}
		refs = hello.Databases
	}
	_, d, err := c.installed(ctx, g, refs, true)
	if err != nil && source == "auto" {
		err = &factory.Problem{Kind: factory.ErrUnavailable, What: "the public vulnerability database", Cause: err,
			Hint: "name a mirror or a folder: vulnerabilities in factory.yaml; or factory db build"}
	}
	return errors.Join(err, c.printData(err, d))
}

func (c *command) printData(err error, d factory.Database) error {
	if err != nil {
		return nil
	}
	if c.JSON {
		return c.printJSON(d)
	}
	_, err = fmt.Fprintf(c.out(), "%s, %s, %s\n", d, fmt.Sprintf("%d advisories", d.Advisories), d.Digest)
	return err
}

func (c *command) dbStatus(ctx context.Context) error {
	type row struct {
		factory.Database
		Dir      string  `json:"dir"`
		AgeHours float64 `json:"ageHours"`
		Problem  string  `json:"problem,omitempty"`
	}
	rows := []row{}
	var errs []error
	add := func(kind factory.DatabaseKind, d factory.Database, dir string, err error) {
		r := row{Database: d, Dir: dir}
		if r.Kind = cmp.Or(d.Kind, kind); !d.Updated.IsZero() {
			r.AgeHours = c.w.Now().Sub(d.Updated).Round(time.Minute).Hours()
		}
		if err != nil {
			r.Problem = err.Error()
			errs = append(errs, err)
		}
		rows = append(rows, r)
	}
	if dir := c.cfg.Vulnerabilities; isFolder(dir) {
		first, _ := c.scannerClients()
		d, err := scanner.InPlace(ctx, dir, first.Check)
		add("", d, dir, err)
	}
	for _, kind := range []factory.DatabaseKind{factory.TrivyDatabase, factory.ArchiveDatabase} {
		d, dir, err := c.databases(kind).Current(ctx)
		if errors.Is(err, factory.ErrNotFound) {
			continue
		}
		add(kind, d, dir, err)
	}
	err := errors.Join(errs...)
	if len(rows) == 0 {
		err = &factory.Problem{Kind: factory.ErrNotFound, What: "no vulnerability data is installed", Hint: "factory db update, or factory db build"}
	}
	if c.JSON {
		return errors.Join(err, c.printJSON(rows))
	}
	if len(rows) == 0 {
		return err
	}
	var text [][]string
	for _, r := range rows {
		cells := []string{string(r.Kind), "damaged", "", "", r.Digest.Short(), cmp.Or(r.Origin, r.Dir)}
		if r.Problem == "" {
			cells[1], cells[2], cells[3] = r.Updated.UTC().Format("2006-01-02 15:04"), ago(c.w.Now(), r.Updated), fmt.Sprint(r.Advisories)
		}
		text = append(text, cells)
	}
	return errors.Join(err, c.table([]string{"KIND", "MADE (UTC)", "AGE", "ADVISORIES", "DIGEST", "FROM"}, text))
}
