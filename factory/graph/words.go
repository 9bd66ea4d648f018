package graph

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

const day = 24 * time.Hour

// span writes a duration in the unit that a person would choose: 40 s, 12 min, 3 h, 12 d.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d/day))
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

// shown makes a text safe to look at: what does not print, turns the direction of writing or piles up on a letter is replaced.
func shown(s string) string {
	piled := false
	return strings.Map(func(r rune) rune {
		mark := unicode.In(r, unicode.Mn, unicode.Me)
		ok := unicode.IsPrint(r) && !(mark && piled)
		piled = mark
		if !ok {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(s, "·"))
}

// plural is "1 image" or "2 images".
func plural(n int, what string) string { return counted(n, what, what+"s") }

func counted(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// some lists names, and how many more there are.
func some(names []string) string {
	const most = 5
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
