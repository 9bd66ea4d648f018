package main

import (
	"path/filepath"
	"testing"
)

// Whatever a server does with a third of the calls: each trigger is delivered, exactly once as seen by its key.
func TestEachTriggerOnce(t *testing.T) {
	const n = 500
	m, err := tellMany(t.Context(), filepath.Join(t.TempDir(), "triggers"), n)
	if err != nil {
		t.Fatal(err)
	}
	if m.taken != n || m.delivered != n || m.calls < n*5/4 || m.again == 0 {
		t.Errorf("%+v", m)
	}
}
