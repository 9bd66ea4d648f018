package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory/registry"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

// Siblings on the embedded registry are put on a new base in one go: scanned by the small scanner, judged, signed, verified, tagged, recorded.
// The bench has a hundred of them (FACTORY_BENCH_REBASES) and reads the line that is printed.
func TestManyRebases(t *testing.T) {
	n := 3
	if text := os.Getenv("FACTORY_BENCH_REBASES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(t, err)
	}
	running, err := (&registry.Server{Dir: t.TempDir(), Addr: "127.0.0.1:0"}).Start(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, running.Close()) })
	f := newFamilyIn(t, running.Addr())
	args := []string{"rebase", f.child.ID}
	for i := range n - 1 {
		r := f.app(t, f.old, time.Duration(i+3)*24*time.Hour, fixture.File{Name: fmt.Sprintf("srv/app%d", i), Data: fmt.Sprint(i)})
		args = append(args, r.ID)
	}
	began := time.Now()
	if code := f.run(t, append(args, "--onto", "debian-12", "--json")...); code != 0 {
		t.Fatalf("exit %d, %s", code, &f.stderr)
	}
	took := time.Since(began)
	digests := map[string]bool{}
	for _, row := range f.told(t) {
		if digests[string(row.Digest)] = true; row.Result != "rebased" {
			t.Errorf("%+v", row)
		}
	}
	if len(digests) != n {
		t.Errorf("%d images of %d", len(digests), n)
	}
	fmt.Printf("REBASES %d in %.2f s\n", n, took.Seconds())
}
