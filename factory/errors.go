package factory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// Kinds of error. An adapter translates what it met into one of these; cmd maps each to an exit code.
// Test for them with errors.Is.
var (
	// ErrInvalid: the input (a definition, a flag, a reference) is wrong and trying again will not help.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: the thing named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrConflict: it exists already, and differs.
	ErrConflict = errors.New("conflict")
	// ErrBlocked: a policy or a failed test says no.
	ErrBlocked = errors.New("blocked")
	// ErrUnverified: a signature, a checksum or an identity does not hold.
	ErrUnverified = errors.New("not verified")
	// ErrUnavailable: something the factory depends on (archive, registry, database, build service) is down.
	ErrUnavailable = errors.New("unavailable")
	// ErrBusy: another run holds the lease.
	ErrBusy = errors.New("busy")
)

// Position is a place in a file. The zero value means unknown.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`   // from 1; 0 = unknown
	Column int    `json:"column,omitempty"` // from 1; 0 = unknown
}

// String returns file:line:column, as far as it is known.
func (p Position) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
		if p.Column > 0 {
			s += fmt.Sprintf(":%d", p.Column)
		}
	}
	return s
}

// Problem is an error made for a person: what is wrong, where, and what to type next.
type Problem struct {
	Kind  error    // one of the Err sentinels; nil counts as unexpected
	What  string   // lower case, no full stop
	Where Position // optional
	Hint  string   // optional: what to do or type next
	Cause error    // optional
}

// Error returns "where: what: cause (hint)", leaving out what is empty.
func (p *Problem) Error() string {
	var b strings.Builder
	if w := p.Where.String(); w != "" {
		b.WriteString(w + ": ")
	}
	b.WriteString(p.What)
	if p.Cause != nil {
		b.WriteString(": " + p.Cause.Error())
	}
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Unwrap makes errors.Is see both the kind and the cause.
func (p *Problem) Unwrap() []error {
	var errs []error
	if p.Kind != nil {
		errs = append(errs, p.Kind)
	}
	if p.Cause != nil {
		errs = append(errs, p.Cause)
	}
	return errs
}

// Outage reports whether err says nothing about what was tried: what the factory depends on was down, busy, or out of space. Of several
// errors each must be one.
func Outage(err error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *Problem:
		if e.Kind != nil {
			return e.Kind == ErrUnavailable || e.Kind == ErrBusy
		}
		return Outage(e.Cause)
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !Outage(err) })
	case interface{ Unwrap() error }:
		return Outage(e.Unwrap())
	}
	return slices.Contains([]error{ErrUnavailable, ErrBusy, syscall.ENOSPC, syscall.EDQUOT}, err)
}

// Problems flattens err into the Problems it is made of, in order; errors that are none are left out.
func Problems(err error) []*Problem {
	if err == nil {
		return nil
	}
	if p, ok := err.(*Problem); ok {
		return []*Problem{p}
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		var all []*Problem
		for _, sub := range e.Unwrap() {
			all = append(all, Problems(sub)...)
		}
		return all
	case interface{ Unwrap() error }:
		return Problems(e.Unwrap())
	}
	return nil
}
