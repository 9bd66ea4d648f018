package downstream

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// base is the image of one FROM line.
type base struct {
	line       int    // of FROM, from 1
	image      string // as it is written
	start, end int    // where in the file, when whole
	whole      bool   // it stands in one piece, not broken by a line continuation
}

// dockerfile reads a Dockerfile as BuildKit does, as far as that is needed to know what is a FROM line and what is not: comments,
// line continuations, the escape directive, here-documents.
type dockerfile struct {
	text   []byte
	at     int // offset of the next line
	line   int // number of the last one
	escape byte
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	directive     = regexp.MustCompile(`^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$`)
	blanks        = regexp.MustCompile(`[^\t\v\f\r ]+`) // what stands between BuildKit's white space
)

// readDockerfile returns the bases of all FROM lines. lost is the line from which on nothing could be read, a here-document without an
// end; 0 when all was.
func readDockerfile(text []byte) (bases []base, lost int) {
	d := &dockerfile{text: text, escape: '\\'}
	if bytes.HasPrefix(text, byteOrderMark) {
		d.at = len(byteOrderMark)
	}
	d.directives()
	for d.at < len(d.text) {
		l := d.instruction()
		name, rest := l.cut()
		switch strings.ToLower(name) {
		case "":
		case "from":
			if b, is := rest.base(); is {
				bases = append(bases, b)
			}
		case "run", "copy", "add", "onbuild":
			if !d.skip(heredocs(strings.ToLower(name), rest)) {
				return bases, l.number
			}
		}
	}
	return bases, 0
}

// next returns the next line without its end, and the offset where it begins.
func (d *dockerfile) next() (line []byte, start int) {
	start = d.at
	end := bytes.IndexByte(d.text[start:], '\n')
	if end < 0 {
		end = len(d.text) - start
		d.at = len(d.text)
	} else {
		d.at = start + end + 1
	}
	d.line++
	return bytes.TrimRight(d.text[start:start+end], "\r\n"), start
}

// directives reads the comments at the top that are none, of which escape matters.
func (d *dockerfile) directives() {
	for d.at < len(d.text) {
		at, number := d.at, d.line
		line, _ := d.next()
		m := directive.FindSubmatch(bytes.TrimLeftFunc(line, unicode.IsSpace))
		if m == nil {
			d.at, d.line = at, number
			return
		}
		if strings.EqualFold(string(m[1]), "escape") && len(m[2]) == 1 && (m[2][0] == '`' || m[2][0] == '\\') {
			d.escape = m[2][0]
		}
	}
}

// logical is an instruction without its line continuations. Each byte knows where in the file it stands.
type logical struct {
	text   []byte
	pos    []int
	number int // of its first line
}

func (l *logical) add(line []byte, start int) {
	for i, b := range line {
		l.text, l.pos = append(l.text, b), append(l.pos, start+i)
	}
}

// instruction reads the lines of one instruction; of a comment or an empty line nothing.
func (d *dockerfile) instruction() logical {
	line, start := d.next()
	l := logical{number: d.line}
	trimmed := bytes.TrimLeftFunc(line, unicode.IsSpace)
	start += len(line) - len(trimmed)
	if len(trimmed) == 0 || trimmed[0] == '#' {
		return l
	}
	piece, more := d.piece(trimmed)
	l.add(piece, start)
	for more && d.at < len(d.text) {
		line, start = d.next()
		trimmed = bytes.TrimLeftFunc(line, unicode.IsSpace)
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		piece, more = d.piece(line)
		l.add(piece, start)
	}
	return l
}

// piece cuts a line continuation off, and says whether there was one: the escape character at the end, with none before it.
func (d *dockerfile) piece(line []byte) (piece []byte, more bool) {
	end := bytes.TrimRight(line, " \t")
	n := len(end)
	if n == 0 || end[n-1] != d.escape || n > 1 && end[n-2] == d.escape {
		return line, false
	}
	return end[:n-1], true
}

// cut splits the instruction's name off.
func (l logical) cut() (name string, rest logical) {
	space := blanks.FindIndex(l.text)
	if space == nil {
		return "", l
	}
	return string(l.text[space[0]:space[1]]), logical{text: l.text[space[1]:], pos: l.pos[space[1]:], number: l.number}
}

// base reads what follows FROM: flags, an image, perhaps AS and a name.
func (l logical) base() (base, bool) {
	words := blanks.FindAllIndex(l.text, -1)
	for len(words) > 0 && bytes.HasPrefix(l.text[words[0][0]:], []byte("--")) {
		words = words[1:]
	}
	if len(words) != 1 && (len(words) != 3 || !strings.EqualFold(string(l.text[words[1][0]:words[1][1]]), "as")) {
		return base{}, false
	}
	from, to := words[0][0], words[0][1]
	b := base{line: l.number, image: string(l.text[from:to]), start: l.pos[from], end: l.pos[to-1] + 1}
	b.whole = b.end-b.start == to-from
	return b, true
}

// heredoc is a here-document that an instruction begins.
type heredoc struct {
	name string
	tabs bool // <<-: tabs before its end do not matter
}

var heredocWord = regexp.MustCompile(`^\d*<<(-?)\s*([^<]+)$`)

// heredocs finds those of an instruction. The JSON form of RUN, COPY and ADD has none.
func heredocs(name string, rest logical) (found []heredoc) {
	if !bytes.Contains(rest.text, []byte("<<")) {
		return nil
	}
	if name == "onbuild" {
		inner, after := rest.cut()
		if name = strings.ToLower(inner); !slices.Contains([]string{"run", "copy", "add"}, name) {
			return nil
		}
		rest = after
	}
	if jsonForm(rest.text) {
		return nil
	}
	for _, word := range shellWords(string(rest.text)) {
		if m := heredocWord.FindStringSubmatch(word); m != nil {
			found = append(found, heredoc{name: unquoted(m[2]), tabs: m[1] == "-"})
		}
	}
	return found
}

// skip reads to the ends of here-documents. It reports whether they are there.
func (d *dockerfile) skip(docs []heredoc) bool {
	for _, doc := range docs {
		ended := false
		for !ended && d.at < len(d.text) {
			line, _ := d.next()
			if doc.tabs {
				line = bytes.TrimLeft(line, "\t")
			}
			ended = string(line) == doc.name
		}
		if !ended {
			return false
		}
	}
	return true
}
