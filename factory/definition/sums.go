package definition

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/imagefactory/imagefactory/factory"
)

// Sums returns the digest of the inputs of each image, as Pack says it, by name. What several images share is read once. Images whose
// inputs cannot be read are left out: Pack says why.
func Sums(dir string, images []factory.Image) map[string]factory.Digest {
	t, err := openTree(dir)
	if err != nil {
		return nil
	}
	defer t.close()
	read := t.sums(images)
	all := map[string]factory.Digest{}
	for _, img := range images {
		var lines []sumLine
		var size int64
		whole := true
		for _, input := range img.Inputs {
			lines = append(lines, read[input].lines...)
			size += read[input].size
			whole = whole && read[input].err == nil
		}
		if !whole || size > maxInputs {
			continue
		}
		slices.SortFunc(lines, func(a, b sumLine) int { return cmp.Compare(a.name, b.name) })
		var b strings.Builder
		for _, l := range slices.CompactFunc(lines, func(a, b sumLine) bool { return a.name == b.name }) {
			b.WriteString(l.text)
		}
		all[img.Name] = factory.DigestOf([]byte(b.String()))
	}
	return all
}

// sums reads every input of the images.
func (t tree) sums(images []factory.Image) map[string]*summed {
	read := map[string]*summed{}
	for _, img := range images {
		for _, input := range img.Inputs {
			read[input] = &summed{}
		}
	}
	inputs := slices.Collect(maps.Keys(read))
	together(len(inputs), func(i int) { *read[inputs[i]] = t.sum(inputs[i]) })
	return read
}

// together calls f with each number below n, on all cores.
func together(n int, f func(i int)) {
	var next atomic.Int64
	var work sync.WaitGroup
	for range runtime.NumCPU() {
		work.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				f(i - 1)
			}
		})
	}
	work.Wait()
}

// summed is one input, without the bytes of its files.
type summed struct {
	lines []sumLine
	size  int64
	err   error
}

// sumLine is a file as the digest of the inputs holds it.
type sumLine struct{ name, text string }

func (t tree) sum(input string) summed {
	files, err := t.files(input)
	s := summed{err: err}
	for _, f := range files {
		s.lines = append(s.lines, sumLine{f.name, f.sum("")})
		s.size += int64(len(f.data))
	}
	return s
}

// sum is what the digest of the inputs holds of a file: its path without prefix, its execute bit and the digest of its bytes.
func (f inputFile) sum(prefix string) string {
	return fmt.Sprintf("%q %t %s\n", strings.TrimPrefix(f.name, prefix), f.exec, factory.DigestOf(f.data))
}
