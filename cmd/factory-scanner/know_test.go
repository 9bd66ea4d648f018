package main

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory/scanner"
)

func TestKnow(t *testing.T) {
	c := converse(t)
	c.refused(scanner.Request{Op: scanner.Know, Vulnerability: "CVE-2026-0001"}, "unavailable", "no vulnerability database is open")
	c.must(scanner.Request{Op: scanner.Open, Dir: makeDatabase(t)})
	for id, want := range map[string]bool{"CVE-2026-0001": true, "DEBSEC-openssl-3.0.99-1": true, "CVE-2026-000": false, "CVE-2026-9999": false, "": false} {
		if r := c.must(scanner.Request{Op: scanner.Know, Vulnerability: id}); r.Known == nil || *r.Known != want {
			t.Errorf("%q: %v", id, r.Known)
		}
	}
}
