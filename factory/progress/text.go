package progress

import (
	"regexp"
	"strings"
	"unicode"
)

const maxMessage = 4096 // bytes

var escape = regexp.MustCompile(`\x1b(\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))`)

// clean makes foreign text harmless and one line long: no escape sequences, no control characters, no invisible or
// reordering ones.
func clean(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage] + "..."
	}
	s = escape.ReplaceAllString(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// paint colours text, or does not.
type paint bool

const (
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p paint) of(style, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// fit cuts clean text to a number of columns. Whatever could be wide counts as two.
func fit(s string, columns int) string {
	for i, r := range s {
		columns--
		if r >= 0x1100 {
			columns--
		}
		if columns < 0 {
			return s[:i]
		}
	}
	return s
}
