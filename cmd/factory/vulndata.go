package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/scanner"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

const (
	// updateEvery is how old installed data may be before a run asks for newer. The public database is made every six hours.
	updateEvery = 6 * time.Hour
	// askEvery is how long nobody is asked again for newer data: what there is may be old and still the newest.
	askEvery = time.Hour
	// patience is how long a run waits for a database that is not configured, only hoped for.
	patience = 2 * time.Minute
	// staleAfter is how old a public database may be before what the archives themselves say today is worth more.
	staleAfter = 72 * time.Hour
	// databaseLayer is the media type of a database in a registry.
	databaseLayer = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
)

// scanner returns the scanner with the newest vulnerability data open, and says which that is. It decides once in a run, so that
// all of a night's decisions rest on the same data, and that what cannot be had is not waited for again.
func (c *command) scanner(ctx context.Context) (scanner.Group, factory.Database, error) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	first, others := c.scannerClients()
	group := scanner.Group{First: first, Events: c.events}
	if c.data == nil {
		data, err := c.openData(ctx, first, others)
		if ctx.Err() != nil {
			return group, data, err
		}
		c.data, c.noData = &data, err
	}
	for _, other := range others {
		group.Others = append(group.Others, other)
	}
	return group, *c.data, c.noData
}

// openData decides which data to use, and opens it in every scanner.
func (c *command) openData(ctx context.Context, first *scanner.Client, others []*scanner.Client) (factory.Database, error) {
	dir, data, err := c.vulnerabilityData(ctx, first)
	if err != nil {
		return data, err
	}
	if data, err = first.Open(ctx, dir, data); err != nil {
		return data, err
	}
	for _, other := range others {
		if _, err := other.Open(ctx, dir, data); err != nil {
			return data, fmt.Errorf("scanner %s: %w", other.Program, err)
		}
	}
	return data, nil
}

// scannerClients are the configured scanners, the first of them alone; they start on first use.
func (a *app) scannerClients() (first *scanner.Client, others []*scanner.Client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.scanners == nil {
		for _, program := range a.cfg.Scanners {
			a.scanners = append(a.scanners, &scanner.Client{Program: program, Now: a.w.Now, Events: a.events})
		}
	}
	return a.scanners[0], a.scanners[1:]
}

// databases are the installed ones of a kind. Each kind has a place of its own, so that falling back for a night does not lose
// the better data.
func (a *app) databases(kind factory.DatabaseKind) scanner.Databases {
	return scanner.Databases{Dir: filepath.Join(a.cfg.State, "vulnerabilities", string(kind)), Now: a.w.Now, Events: a.events}
}

// vulnerabilityData decides which data to use: what is configured; else the public database; else what the archives'
// changelogs say. Data that is configured and cannot be had is an error: nobody wants another kind without knowing.
func (c *command) vulnerabilityData(ctx context.Context, g *scanner.Client) (dir string, d factory.Database, err error) {
	switch source := c.cfg.Vulnerabilities; {
	case source == "archive":
		return c.archiveData(ctx, g, false)
	case source == "auto":
		hello, err := g.Hello(ctx)
		if err != nil { // without a scanner no data is of use
			return "", d, err
		}
		dir, d, err := c.publicData(ctx, g, hello.Databases)
		if err == nil || ctx.Err() != nil {
			return dir, d, err
		}
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: fmt.Sprintf("no public vulnerability database: %s; using the archives' changelogs, which know fixes and no severities", firstLine(err.Error()))})
		return c.archiveData(ctx, g, false)
	case isFolder(source):
		d, err := scanner.InPlace(ctx, source, g.Check)
		return source, d, err
	default:
		return c.installed(ctx, g, []string{source}, false)
	}
}

func isFolder(s string) bool {
	info, err := os.Stat(s)
	return err == nil && info.IsDir()
}

// publicData is the database of the scanner's makers, where they publish it.
func (c *command) publicData(ctx context.Context, g *scanner.Client, refs []string) (string, factory.Database, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer in %s", patience))
	defer cancel()
	dir, d, err := c.installed(ctx, g, refs, false)
	if age := c.w.Now().Sub(d.Updated); err == nil && age > staleAfter {
		err = fmt.Errorf("the newest to be had is of %s", d.Updated.UTC().Format(time.DateOnly))
	}
	return dir, d, err
}

// installed returns the installed Trivy database, after updating it from the first of refs that has it when it is older than
// updateEvery, or in any case when forced. An update that fails leaves the installed one in use, with a warning: a gate decides
// whether it is too old.
func (c *command) installed(ctx context.Context, g *scanner.Client, refs []string, force bool) (string, factory.Database, error) {
	dbs := c.databases(factory.TrivyDatabase)
	have, dir, err := dbs.Current(ctx)
	if err == nil && !force && (c.w.Now().Sub(have.Updated) < updateEvery || c.askedLately(dbs)) {
		return dir, have, nil
	}
	there := err == nil
	c.asked(dbs)
	if err != nil && !errors.Is(err, factory.ErrNotFound) {
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: err.Error()})
	}
	var errs []error
	for _, ref := range refs {
		d, dir, err := c.pullDatabase(ctx, dbs, g, ref)
		if err == nil {
			return dir, d, nil
		}
		errs = append(errs, err)
	}
	err = errors.Join(errs...)
	if there && !force && ctx.Err() == nil {
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: fmt.Sprintf("going on with the database of %s: %s", have.Updated.UTC().Format("2006-01-02 15:04"), firstLine(err.Error()))})
		return dir, have, nil
	}
	return "", factory.Database{}, err
}

// pullDatabase installs the database that ref stands for.
func (c *command) pullDatabase(ctx context.Context, dbs scanner.Databases, g *scanner.Client, ref string) (factory.Database, string, error) {
	client := c.registry()
	client.Retry.Attempts = 2
	_, err := client.PullArtifact(ctx, ref, databaseLayer, func(r io.Reader) error {
		_, err := dbs.InstallArchive(ctx, factory.TrivyDatabase, ref, r, g.Check)
		return err
	})
	if err != nil {
		return factory.Database{}, "", err
	}
	return dbs.Current(ctx)
}

// archiveData is a database made from the changelogs of the packages that the archives offer now. It is made anew when a lock
// moved, when it is older than updateEvery, or when forced.
func (c *command) archiveData(ctx context.Context, g *scanner.Client, force bool) (string, factory.Database, error) {
	set, err := c.definitions()
	if err != nil {
		return "", factory.Database{}, err
	}
	locks, origin, err := c.archiveLocks(set)
	if err != nil {
		return "", factory.Database{}, err
	}
	dbs := c.databases(factory.ArchiveDatabase)
	have, dir, err := dbs.Current(ctx)
	if err == nil && !force && have.Origin == origin && (c.w.Now().Sub(have.Updated) < updateEvery || c.askedLately(dbs)) {
		return dir, have, nil
	}
	advisories, err := c.readAdvisories(ctx, set, locks)
	if err != nil {
		return "", have, fmt.Errorf("advisories from the archives: %w", err)
	}
	tmp, err := os.MkdirTemp("", "factory-advisories-")
	if err != nil {
		return "", have, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if _, err := g.Build(ctx, tmp, advisories); err != nil {
		return "", have, err
	}
	if _, err := dbs.InstallDir(ctx, factory.ArchiveDatabase, origin, tmp, g.Check); err != nil {
		return "", have, err
	}
	c.asked(dbs)
	d, dir, err := dbs.Current(ctx)
	return dir, d, err
}

// askedFile is beside the databases of a kind; its time is when newer data was last asked for.
const askedFile = "asked"

func (a *app) askedLately(dbs scanner.Databases) bool {
	info, err := os.Stat(filepath.Join(dbs.Dir, askedFile))
	if err != nil {
		return false
	}
	age := a.w.Now().Sub(info.ModTime())
	return age >= 0 && age < askEvery
}

// asked remembers that newer data was asked for. When that cannot be written, it is asked for once more than needed.
func (a *app) asked(dbs scanner.Databases) {
	name := filepath.Join(dbs.Dir, askedFile)
	if os.MkdirAll(dbs.Dir, 0o755) != nil || os.WriteFile(name, nil, 0o644) != nil {
		return
	}
	_ = os.Chtimes(name, time.Time{}, a.w.Now())
}

// archiveLocks are the locks of all images, and a name for them together.
func (c *command) archiveLocks(set definition.Set) (locks map[string]factory.Lock, origin string, err error) {
	locks = map[string]factory.Lock{}
	var names, digests []string
	for _, img := range set.Images {
		lock, ok, err := definition.ReadLock(c.cfg.Dir, img.Name)
		if err != nil {
			return nil, "", err
		}
		if img.Kind == factory.KindToolbox || !ok {
			continue
		}
		b, err := lock.Encode()
		if err != nil {
			return nil, "", err
		}
		locks[img.Name] = lock
		names, digests = append(names, img.Name), append(digests, factory.DigestOf(b).Hex())
	}
	if len(locks) == 0 {
		return nil, "", &factory.Problem{Kind: factory.ErrNotFound, What: "no image has a lock, so there is nothing to read changelogs of", Hint: "factory lock"}
	}
	slices.Sort(digests)
	return locks, fmt.Sprintf("changelogs of the packages of %s (locks %s)", strings.Join(names, ", "), factory.DigestOf([]byte(strings.Join(digests, " "))).Short()), nil
}

// readAdvisories reads the changelogs, in the toolbox.
func (c *command) readAdvisories(ctx context.Context, set definition.Set, locks map[string]factory.Lock) ([]factory.Advisories, error) {
	box, err := c.boxLock(set)
	if err != nil {
		return nil, err
	}
	if _, err := c.toolbox(ctx, box.image, box.lock); err != nil {
		return nil, err
	}
	l := &locking{app: c.app, set: set}
	s := l.solver(c.build())
	if s.Toolbox, err = c.build().Toolbox(); err != nil {
		return nil, err
	}
	var newest []upstream.LockedImage
	for _, name := range sortedKeys(locks) {
		img, err := set.Image(name)
		if err != nil {
			return nil, err
		}
		newest = append(newest, upstream.LockedImage{Image: img, Lock: locks[name]})
	}
	return s.Advisories(ctx, newest)
}
