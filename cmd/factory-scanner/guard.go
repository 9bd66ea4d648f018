package main

import (
	"bytes"
	"fmt"
	"runtime/debug"
)

// fault is a panic while a database was read: a damaged page, or memory that is mapped to a part of the file that is gone.
type fault struct{ what string }

func (f *fault) Error() string { return f.what }

// guarded runs f such that a fault of a database that it reads is an error and not the end of the process. It does not wait for
// f once stop is closed: after a fault elsewhere, f may wait for a lock that nobody gives back.
func guarded[T any](stop <-chan struct{}, f func() (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.err = panicked(p, debug.Stack())
			}
			done <- o
		}()
		debug.SetPanicOnFault(true)
		o.v, o.err = f()
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-stop:
		var none T
		return none, damagedProblem(nil)
	}
}

// panicked tells a database's fault from a mistake of the program.
func panicked(p any, stack []byte) error {
	_, addressed := p.(interface{ Addr() uintptr })
	if addressed || bytes.Contains(stack, []byte("go.etcd.io/bbolt.")) {
		return &fault{what: fmt.Sprint(p)}
	}
	return fmt.Errorf("%v %s", p, culprit(stack))
}
