package graph

import "strings"

// textWidth is how wide a text gets at most, in pixels, in whatever font there is. Names are in a fixed-width one.
func textWidth(s string, size float64, fixed bool) float64 {
	width := 0.0
	for _, r := range s {
		switch {
		case r >= 0x1100:
			width += 1.1 * 2
		case fixed:
			width += 0.62
		case strings.ContainsRune("il.,:;|!'() ", r):
			width += 0.42
		case strings.ContainsRune("mwMW@%—→", r):
			width += 1
		case r >= 'A' && r <= 'Z' || r > 0x7e:
			width += 0.8
		default:
			width += 0.64
		}
	}
	return width * size
}

// fit shortens a text in its middle until it is not wider than width: names of a family begin alike.
func fit(s string, width, size float64, fixed bool) string {
	if textWidth(s, size, fixed) <= width {
		return s
	}
	runes := []rune(s)
	most := int(width/(size*0.4)) + 1 // no letter is narrower
	for keep := min(len(runes)-1, most); keep > 0; keep-- {
		head := keep / 2
		short := string(runes[:head]) + "…" + string(runes[len(runes)-(keep-head):])
		if textWidth(short, size, fixed) <= width {
			return short
		}
	}
	return "…"
}

// firstFit is the first of the texts that is not wider than width, or else the last.
func firstFit(width, size float64, texts ...string) string {
	for _, s := range texts {
		if textWidth(s, size, false) <= width {
			return s
		}
	}
	return texts[len(texts)-1]
}

// wrap breaks a text into lines that are not wider than width.
func wrap(s string, width, size float64) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		word = fit(word, width, size, false)
		if line != "" && textWidth(line+" "+word, size, false) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
