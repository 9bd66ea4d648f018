package downstream

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
)

// jsonForm reports whether an instruction's arguments are a JSON array of strings, behind flags.
func jsonForm(text []byte) bool {
	for {
		text = bytes.TrimSpace(text)
		if !bytes.HasPrefix(text, []byte("--")) {
			break
		}
		end := blanks.FindIndex(text)
		text = text[end[1]:]
	}
	var args []string
	return bytes.HasPrefix(text, []byte("[")) && json.Unmarshal(text, &args) == nil
}

// shellWords splits a line at the white space outside of quotes, which stay.
func shellWords(line string) (words []string) {
	var word strings.Builder
	var quote rune
	escaped := false
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
		}
		word.Reset()
	}
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case unicode.IsSpace(r):
			end()
			continue
		}
		_, _ = word.WriteRune(r)
	}
	end()
	return words
}

// unquoted is a word as a shell sees it.
func unquoted(word string) string {
	var b strings.Builder
	var quote rune
	escaped := false
	for _, r := range word {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
			continue
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
			continue
		case quote != 0 && r == quote:
			quote = 0
			continue
		}
		_, _ = b.WriteRune(r)
	}
	return b.String()
}
