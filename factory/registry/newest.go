package registry

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// attached are tags that signers and registries make for what belongs to an image.
var attached = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.[a-z.]+)?$`)

// newestFirst sorts tags the newest first, as far as names tell: latest, then downwards, with numbers compared as numbers. No registry
// says when a tag was made.
func newestFirst(tags []string) {
	slices.SortFunc(tags, func(a, b string) int {
		if (a == "latest") != (b == "latest") {
			return map[bool]int{true: -1, false: 1}[a == "latest"]
		}
		return natural(b, a)
	})
}

// natural compares as people do: 1.9 is before 1.10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := run(a), run(b)
		if digits(x) && digits(y) {
			p, q := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q), cmp.Compare(len(x), len(y))); c != 0 {
				return c
			}
		} else if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		a, b = a[len(x):], b[len(y):]
	}
	return cmp.Compare(len(a), len(b))
}

// run is the beginning of s that has only digits, or none.
func run(s string) string {
	digit := func(i int) bool { return '0' <= s[i] && s[i] <= '9' }
	n := 1
	for n < len(s) && digit(n) == digit(0) {
		n++
	}
	return s[:n]
}

func digits(s string) bool { return '0' <= s[0] && s[0] <= '9' }
