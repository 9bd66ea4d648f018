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
	staleAfter = 24 * time.Hour
	// databaseLayer is the media type of a database in a registry.
	databaseLayer = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
)

// scanner returns the scanner with the vulnerability data of this run open, and says which that is.
func (c *command) scanner(ctx context.Context) (scanner.Group, factory.Database, error) {
	first, others := c.scannerClients()
	group := scanner.Group{First: first, Required: true, Events: c.events} // half an answer would look like a clean one
	for _, other := range others {
		group.Others = append(group.Others, other)
	}
	data, dir, err := c.dataOfRun(ctx)
	if err != nil {
		return group, data, err
	}
	c.deciding.Lock()
	defer c.deciding.Unlock()
	if c.opened {
		return group, *c.data, nil
	}
	for _, client := range append([]*scanner.Client{first}, others...) {
		said, err := client.Open(ctx, dir, data)
		if err != nil {
			return group, data, fmt.Errorf("scanner %s: %w", filepath.Base(client.Program), err)
		}
		if client == first {
			c.data = &said
		}
	}
	c.opened = true
	return group, *c.data, nil
}

// dataOfRun says which vulnerability data this run uses, and where it is. It is decided once, so that all of a night's decisions
// rest on the same data, and that what cannot be had is not waited for again. Where the data is there already, no scanner is started.
func (c *command) dataOfRun(ctx context.Context) (factory.Database, string, error) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	if c.data == nil {
		first, _ := c.scannerClients()
		dir, data, err := c.vulnerabilityData(ctx, first)
		if ctx.Err() != nil {
			return data, dir, context.Cause(ctx)
		}
		c.data, c.dataDir, c.noData = &data, dir, err
	}
	return *c.data, c.dataDir, c.noData
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

// vulnerabilityData decides which data to use: what is configured; else the public database; else what the
// archives say themselves. Data that is configured and cannot be had is an error: nobody wants another kind without knowing.
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
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: fmt.Sprintf("no public vulnerability database: %s; using what the archives say themselves, which is fixes only", firstLine(err.Error()))})
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
	if err != nil && !errors.Is(err, factory.ErrNotFound) {
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: err.Error()})
	}
	there := err == nil && slices.Contains(refs, have.Origin) // what came from elsewhere was configured once, and is not now
	why, lately := c.askedLately(dbs)
	goOn := func(why string) (string, factory.Database, error) {
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: fmt.Sprintf("going on with the database of %s: %s", have.Updated.UTC().Format("2006-01-02 15:04"), why)})
		return dir, have, nil
	}
	switch {
	case !there || force:
	case c.w.Now().Sub(have.Updated) < updateEvery, lately && why == "":
		return dir, have, nil
	case lately:
		return goOn(why)
	}
	var errs []error
	if len(refs) == 0 {
		errs = append(errs, &factory.Problem{Kind: factory.ErrNotFound, What: "the scanner names no public vulnerability database"})
	}
	for _, ref := range refs {
		d, dir, err := c.pullDatabase(ctx, dbs, g, ref)
		if err == nil {
			c.asked(dbs, "")
			return dir, d, nil
		}
		errs = append(errs, err)
	}
	if ctx.Err() != nil {
		return "", factory.Database{}, context.Cause(ctx)
	}
	err = errors.Join(errs...)
	c.asked(dbs, firstLine(err.Error()))
	if there && !force {
		return goOn(firstLine(err.Error()))
	}
	return "", factory.Database{}, err
}

// pullDatabase installs the database that ref stands for.
func (c *command) pullDatabase(ctx context.Context, dbs scanner.Databases, g *scanner.Client, ref string) (factory.Database, string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer in %s", patience))
	defer cancel()
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

// archiveData is a database made from what the archives say of the packages that they offer now. It is made anew when a lock
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
	there := err == nil && have.Origin == origin
	if _, lately := c.askedLately(dbs); there && !force && (c.w.Now().Sub(have.Updated) < updateEvery || lately) {
		return dir, have, nil
	}
	madeDir, made, err := c.makeArchiveData(ctx, g, dbs, set, locks, origin)
	if err != nil && there && !force && ctx.Err() == nil {
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: fmt.Sprintf("going on with the archive data of %s, of the same locks: %s", have.Updated.UTC().Format("2006-01-02 15:04"), firstLine(err.Error()))})
		return dir, have, nil
	}
	return madeDir, made, err
}

// makeArchiveData reads changelogs and updateinfo and installs what they say.
func (c *command) makeArchiveData(ctx context.Context, g *scanner.Client, dbs scanner.Databases, set definition.Set, locks map[string]factory.Lock, origin string) (string, factory.Database, error) {
	fail := func(err error) (string, factory.Database, error) { return "", factory.Database{}, err }
	advisories, err := c.readAdvisories(ctx, set, locks)
	if err == nil && missing(advisories) > 0 { // perhaps a connection was cut
		advisories, err = c.readAdvisories(ctx, set, locks)
	}
	if err != nil {
		return fail(fmt.Errorf("advisories from the archives: %w", err))
	}
	tmp, err := os.MkdirTemp("", "factory-advisories-")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if _, err := g.Build(ctx, tmp, advisories); err != nil {
		return fail(err)
	}
	if n := missing(advisories); n > 0 { // another origin than the next run looks for, which therefore tries again
		origin += fmt.Sprintf(", without what could not be had of %s", count(n, "package"))
	}
	if _, err := dbs.InstallDir(ctx, factory.ArchiveDatabase, origin, tmp, g.Check); err != nil {
		return fail(err)
	}
	c.asked(dbs, "")
	d, dir, err := dbs.Current(ctx)
	return dir, d, err
}

// missing counts the packages of which nothing could be had.
func missing(advisories []factory.Advisories) (n int) {
	for _, a := range advisories {
		n += len(a.Missing)
	}
	return n
}

// askedFile is beside the databases of a kind. Its time is when newer data was last asked for, its content why there was none.
const askedFile = "asked"

// askedLately reports whether newer data was asked for within askEvery, and why that did not help; empty when it did.
func (a *app) askedLately(dbs scanner.Databases) (why string, lately bool) {
	file := filepath.Join(dbs.Dir, askedFile)
	info, err := os.Stat(file)
	if err != nil {
		return "", false
	}
	b, _ := os.ReadFile(file)
	age := a.w.Now().Sub(info.ModTime())
	return string(b), age >= 0 && age < askEvery
}

// asked remembers that newer data was asked for. When that cannot be written, it is asked for once more than needed.
func (a *app) asked(dbs scanner.Databases, why string) {
	name := filepath.Join(dbs.Dir, askedFile)
	if os.MkdirAll(dbs.Dir, 0o755) != nil || os.WriteFile(name, []byte(why), 0o644) != nil {
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
		return nil, "", &factory.Problem{Kind: factory.ErrNotFound, What: "no image has a lock, so there is nothing to read advisories of", Hint: "factory lock"}
	}
	slices.Sort(digests)
	return locks, fmt.Sprintf("the archives' own advisories for %s (locks %s)", strings.Join(names, ", "), factory.DigestOf([]byte(strings.Join(digests, " "))).Short()), nil
}

// readAdvisories reads what the archives say, in the toolbox.
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

// newestData gets newer data whatever the age of what there is. When there is none to be had, what there is must do, and that is told.
func (c *command) newestData(ctx context.Context) {
	g, _ := c.scannerClients()
	var err error
	switch source := c.cfg.Vulnerabilities; {
	case isFolder(source):
		return
	case source == "archive":
		_, _, err = c.archiveData(ctx, g, true)
	case source == "auto":
		hello, asked := g.Hello(ctx)
		if asked != nil {
			return // whoever opens the data tells
		}
		dbs := c.databases(factory.TrivyDatabase)
		if why, lately := c.askedLately(dbs); !lately || why == "" {
			_, _, err = c.installed(ctx, g, hello.Databases, true)
		} else {
			err = errors.New(why)
		}
		if err != nil && ctx.Err() == nil { // then it is the archives that are asked
			_, _, err = c.archiveData(ctx, g, true)
		}
	default:
		_, _, err = c.installed(ctx, g, []string{source}, true)
	}
	if err != nil && ctx.Err() == nil {
		c.events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: "no newer vulnerability data: " + firstLine(err.Error())})
	}
}

// forgetData has the next question decide anew which data to use.
func (c *command) forgetData() {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	c.data, c.opened, c.noData = nil, false, nil
}
