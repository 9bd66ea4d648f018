package definition_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/imagefactory/imagefactory/factory/definition"
)

// The digests of many are those of each.
func TestSums(t *testing.T) {
	t.Parallel()
	dir := write(t, family())
	set, err := definition.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := definition.Sums(dir, set.Images)
	if len(sums) != len(set.Images) {
		t.Errorf("%d of %d", len(sums), len(set.Images))
	}
	for _, img := range set.Images {
		if _, want, err := definition.Pack(dir, img); err != nil || sums[img.Name] != want {
			t.Errorf("%s: %s, want %s, %v", img.Name, sums[img.Name], want, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "baseimages", "child")); err != nil {
		t.Fatal(err)
	}
	sums = definition.Sums(dir, set.Images)
	for _, img := range set.Images {
		_, _, err := definition.Pack(dir, img)
		if known := sums[img.Name] != ""; known != (err == nil) {
			t.Errorf("%s: %q, and Pack says %v", img.Name, sums[img.Name], err)
		}
	}
	if sums := definition.Sums(filepath.Join(dir, "none"), set.Images); len(sums) != 0 {
		t.Errorf("of nothing: %v", sums)
	}
}
