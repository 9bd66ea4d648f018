package main

import (
	"context"
	"errors"

	"github.com/imagefactory/imagefactory/factory"
)

// Exit codes. They are a contract with pipelines; README and `factory help` repeat them.
const (
	exitOK          = 0
	exitUnexpected  = 1
	exitInvalid     = 2
	exitBlocked     = 3
	exitPartial     = 4
	exitUnverified  = 5
	exitUnavailable = 6
	exitBusy        = 7
	exitInterrupted = 130
)

// exitHelp is the contract as every command's help shows it.
const exitHelp = `Exit codes:
  0  done, also when there was nothing to do
  1  unexpected error
  2  bad input: a definition, a flag, a reference
  3  blocked by a policy or a failed acceptance test
  4  partial: some images failed, are held back or could not be looked at; others are done
  5  verification failed: signature, checksum, tag
  6  something the factory depends on is unavailable
  7  another run holds the lease, or was given it
130  interrupted`

// errPartial marks a night in which some images failed and others did not.
var errPartial = errors.New("some images failed, are held back or could not be looked at")

// exitCode maps an error to the contract. The order matters: an unverified thing that is also in conflict is unverified.
func exitCode(err error) int {
	for _, k := range []struct {
		kind error
		code int
	}{
		{errInterrupted, exitInterrupted},
		{context.Canceled, exitInterrupted},
		{errPartial, exitPartial},
		{factory.ErrBusy, exitBusy},
		{factory.ErrUnverified, exitUnverified},
		{factory.ErrBlocked, exitBlocked},
		{factory.ErrUnavailable, exitUnavailable},
		{factory.ErrInvalid, exitInvalid},
		{factory.ErrNotFound, exitInvalid},
		{factory.ErrConflict, exitInvalid},
	} {
		if errors.Is(err, k.kind) {
			return k.code
		}
	}
	if err == nil {
		return exitOK
	}
	return exitUnexpected
}
