package definition

import (
	"cmp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// text is a string that remembers where it was written.
type text struct {
	Value string
	At    factory.Position
}

// number is a whole number that remembers where it was written. Its zero value was not written at all.
type number struct {
	Value int
	At    factory.Position
}

// row is one entry of a mapping whose keys are names that people choose; table keeps the order of the file.
type row[T any] struct {
	Key   text
	Value T
}

type table[T any] []row[T]

func (table[T]) isTable() {}

// find returns the entry of a name.
func (t table[T]) find(name string) (row[T], bool) {
	for i := range t {
		if t[i].Key.Value == name {
			return t[i], true
		}
	}
	return row[T]{}, false
}

func (t table[T]) names() []string {
	var all []string
	for _, r := range t {
		all = append(all, r.Key.Value)
	}
	return all
}

// free is a role variable: text, a number, a truth value or a list of text.
type free struct{ Value any }

func plain(texts []text) []string {
	var all []string
	for _, t := range texts {
		all = append(all, t.Value)
	}
	return all
}

// nearest returns the hint for a name that is none: the closest valid one, or all of them when they are few.
func nearest(name string, valid []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, v := range slices.Sorted(slices.Values(valid)) {
		if d := levenshtein(strings.ToLower(name), strings.ToLower(v)); d < distance && d < len(v) {
			best, distance = v, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(valid) == 0:
		return ""
	case len(valid) > 12:
		return ""
	}
	return "known: " + strings.Join(slices.Sorted(slices.Values(valid)), ", ")
}

// levenshtein counts the edits between a and b; names longer than 100 bytes are compared by their beginning.
func levenshtein(a, b string) int {
	a, b = a[:min(len(a), 100)], b[:min(len(b), 100)]
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			substitute := previous[j]
			if a[i] != b[j] {
				substitute++
			}
			current[j+1] = min(substitute, previous[j+1]+1, current[j]+1)
		}
		previous = current
	}
	return previous[len(b)]
}

// problems collects what is wrong, each once.
type problems []*factory.Problem

func (p *problems) add(at factory.Position, hint, format string, args ...any) {
	*p = append(*p, problem(at, hint, format, args...))
}

// join takes over every Problem in err; an error that is none becomes one without a place.
func (p *problems) join(err error) {
	if err == nil {
		return
	}
	found := factory.Problems(err)
	if len(found) == 0 {
		found = []*factory.Problem{{What: "reading the definitions", Cause: err}}
	}
	*p = append(*p, found...)
}

// err returns the problems in the order of their places, nil when there are none.
func (p problems) err() error {
	slices.SortStableFunc(p, func(a, b *factory.Problem) int {
		return cmp.Or(
			cmp.Compare(a.Where.File, b.Where.File), cmp.Compare(a.Where.Line, b.Where.Line),
			cmp.Compare(a.Where.Column, b.Where.Column), cmp.Compare(a.What, b.What))
	})
	p = slices.CompactFunc(p, func(a, b *factory.Problem) bool { return a.Where == b.Where && a.What == b.What })
	return joined(p)
}
