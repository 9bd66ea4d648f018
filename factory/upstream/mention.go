package upstream

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// titleLimit is how long a title may be, in bytes.
const titleLimit = 160

var (
	cveID   = regexp.MustCompile(`CVE-(?:19|20)[0-9]{2}-[0-9]{4,19}`)
	ghsaID  = regexp.MustCompile(`GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}`)
	firstID = regexp.MustCompile(`^(?:` + cveID.String() + `|` + ghsaID.String() + `)`)
	// Several ids of one year: CVE-2026-{1234,1235} and CVE-2026-1234, -1235.
	cveBraces = regexp.MustCompile(`(CVE-(?:19|20)[0-9]{2}-)\{([0-9]{4,19}(?:, ?[0-9]{4,19})+)\}`)
	cveTail   = regexp.MustCompile(`^(?:,| and|, and| &|/)? ?-([0-9]{4,19})`)
	closes    = regexp.MustCompile(`(?i)\(?\bcloses: ?#[0-9]+(?:, ?#[0-9]+)*\)?`)
	clauseEnd = regexp.MustCompile(`[.;]\s`)
	// What is said of a CVE that the entry did not mend.
	harmless = regexp.MustCompile(`(?i)\b(not|never|n't|isn't|aren't|wasn't|doesn't|don't)\s+(been\s+|be\s+|actually\s+|directly\s+)?(affect(ed|s|ing)?|vulnerable|applicable|apply|exploitable|fix|fixed|mended|present|relevant)\b|\b(unaffected|unfixed|not-affected|no-dsa|still vulnerable|false positive)\b`)
)

// read adds what an item of the entry's text says. Its advisories count where it names no CVE, which would be the same again.
func (e *entry) read(item string) {
	if e.title == "" && !strings.HasPrefix(item, "[") && !strings.Contains(item, "on-maintainer upload") {
		e.title = titleOf(item)
	}
	ids := cveIDs
	if !strings.Contains(item, "CVE-") {
		ids = ghsaIDs
		if !strings.Contains(item, "GHSA-") {
			return
		}
	}
	title := titleOf(item)
	for _, clause := range clauseEnd.Split(item, -1) {
		found := ids(strings.Join(strings.Fields(clause), " "))
		e.names = e.names || len(found) > 0
		if harmless.MatchString(clause) {
			continue
		}
		for _, id := range found {
			e.fixes = append(e.fixes, mention{id, title})
		}
	}
}

func ghsaIDs(text string) (ids []string) {
	for _, at := range ghsaID.FindAllStringIndex(text, -1) {
		if edge(text[:at[0]], text[at[1]:]) {
			ids = append(ids, text[at[0]:at[1]])
		}
	}
	return ids
}

// cveIDs returns the CVE ids in a text, in its order.
func cveIDs(text string) (ids []string) {
	text = cveBraces.ReplaceAllStringFunc(text, func(all string) string {
		m := cveBraces.FindStringSubmatch(all)
		return m[1] + strings.Join(strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' }), " "+m[1])
	})
	for {
		at := cveID.FindStringIndex(text)
		if at == nil {
			return ids
		}
		id, before, rest := text[at[0]:at[1]], text[:at[0]], text[at[1]:]
		if text = rest; !edge(before, rest) {
			continue
		}
		ids = append(ids, id)
		for m := cveTail.FindStringSubmatch(text); m != nil && edge("", text[len(m[0]):]); m = cveTail.FindStringSubmatch(text) {
			ids = append(ids, id[:len("CVE-2026-")]+m[1])
			text = text[len(m[0]):]
		}
	}
}

// edge reports whether an id ends where the text around it begins; an underscore ends one too, as in names of patches.
func edge(before, after string) bool {
	part := func(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return !part(last) && !part(first)
}

// titleOf is an item's text in one printable line, without the ids that it begins with and the bug reports that it closes; empty
// when nothing is left.
func titleOf(item string) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(item[:min(len(item), 4*titleLimit)], ""))
	text = closes.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	for cut := true; cut; {
		text = strings.Trim(text, " *-+,:;.")
		first := firstID.FindString(text)
		text, cut = text[len(first):], first != ""
	}
	if inner, ok := strings.CutPrefix(text, "("); ok && strings.Count(text, "(") == 1 && strings.HasSuffix(text, ")") {
		text = strings.Trim(strings.TrimSuffix(inner, ")"), `"`)
	}
	if !strings.ContainsFunc(text, unicode.IsLetter) {
		return ""
	}
	if len(text) <= titleLimit {
		return text
	}
	short := text[:titleLimit-len("…")]
	if i := strings.LastIndexByte(short, ' '); i > 0 {
		short = short[:i]
	}
	return strings.ToValidUTF8(short, "") + "…"
}
