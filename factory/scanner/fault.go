package scanner

import (
	"errors"
	"fmt"

	"github.com/imagefactory/imagefactory/factory"
)

const anotherDatabase = "get a good one: factory db update, or: factory db build"

// ErrBadDatabase is the kind of errors about a database that is no good: nothing else that is asked of it will be answered. It is an
// ErrUnverified.
var ErrBadDatabase = fmt.Errorf("vulnerability database: %w", factory.ErrUnverified)

// problem translates what the scanner says of a request.
func (f *Fault) problem(what string) error {
	kind := map[string]error{"invalid": factory.ErrInvalid, "not found": factory.ErrNotFound, "unverified": factory.ErrUnverified, "unavailable": factory.ErrUnavailable}[f.Kind]
	return &factory.Problem{Kind: kind, What: "scanner: " + what + ": " + clean(f.What), Hint: clean(f.Hint)}
}

// databaseFault translates what the scanner says of a database.
func databaseFault(dir string, f *Fault) error {
	if !f.suspect() {
		return f.problem("database in " + dir)
	}
	return badDatabase(dir, errors.New(clean(f.What)))
}

func badDatabase(dir string, cause error) error {
	return &factory.Problem{Kind: ErrBadDatabase, What: "vulnerability database in " + dir + " is no good", Hint: anotherDatabase, Cause: cause}
}

// dead returns the death that err is, nil when it is something else.
func dead(err error) *death {
	var d *death
	errors.As(err, &d)
	return d
}

// final makes an error for people of a death that was not the first.
func (c *Client) final(what string, err error) error {
	d := dead(err)
	switch {
	case d == nil:
		return err
	case d.during == Hello:
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "scanner " + c.Program + " does not start", Hint: "make build; it must be the factory-scanner of this version", Cause: d}
	case d.during == Open:
		return badDatabase(d.dir, d)
	}
	return &factory.Problem{Kind: factory.ErrUnavailable, What: "scanner: " + what, Hint: "its input is too much for it, or something on this machine ends it (memory?)", Cause: d}
}

// suspect reports whether a bad database may be behind the fault.
func (f *Fault) suspect() bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case "invalid", "not found", "unavailable":
		return false
	}
	return true
}

// nothing is the error of a scan that recognised nothing.
func nothing(what string, r Result) error {
	return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("scanner: %s: it recognises no packages of a distribution (%q, %d packages), so it can find nothing", what, clean(r.Distro), r.Packages),
		Hint: "see that the image keeps /etc/os-release and its package database"}
}
