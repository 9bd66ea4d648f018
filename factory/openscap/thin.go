package openscap

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// piece is a part of a data stream that can be left out on its own. Its names are what its attributes and texts say: ids of other
// pieces among them.
type piece struct {
	kind     string // the element's local name
	id       string
	from, to int64 // bytes
	names    []string
	parts    []*piece // of a profile or rule: what names a rule or sets a value
	groups   []string // of a rule: ids of those around it
}

// The elements whose children are pieces, and what is a part inside a profile or rule.
var (
	ovalLists    = []string{"definitions", "tests", "objects", "states", "variables"}
	ocilLists    = []string{"questionnaires", "test_actions", "questions", "artifacts", "variables"}
	profileParts = []string{"select", "requires", "conflicts", "refine-value", "set-value", "set-complex-value", "refine-rule"}
)

const (
	ovalSpace = "http://oval.mitre.org/XMLSchema/oval-definitions-5"
	ocilSpace = "http://scap.nist.gov/schema/ocil/2.0"
	maxName   = 300     // bytes of a text that may be an id
	maxPieces = 200_000 // of a data stream; real ones have 10,000 to 30,000
)

// stream is a data stream in pieces.
type stream struct {
	data     []byte
	profiles map[string]*piece
	rules    map[string]*piece
	entries  map[string][]*piece // of OVAL, by id
	needless []*piece            // what no evaluation reads: remediations, other standards' references, questions to people
	outside  []string            // names outside of all pieces
	off      map[string]bool     // groups that a profile has to turn on
}

// readStream takes a data stream apart. Unlike parseARF it reads to the end.
func readStream(data []byte) (*stream, error) {
	st := &stream{data: data, profiles: map[string]*piece{}, rules: map[string]*piece{}, entries: map[string][]*piece{}, off: map[string]bool{}}
	s := scan{in: &rationed{Reader: bytes.NewReader(data)}}
	s.dec = xml.NewDecoder(s.in)
	var open []xml.Name
	var groups []string
	var pieces []*piece // those that the open elements are, or nil
	n := 0
	for {
		from := s.dec.InputOffset()
		t, err := s.token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return st, nil
		} else if err != nil {
			return nil, cut(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			var above xml.Name
			if len(open) > 0 {
				above = open[len(open)-1]
			}
			p := st.piece(t, above, innermost(pieces))
			if p != nil {
				if n++; n > maxPieces {
					return nil, fmt.Errorf("more than %d parts", maxPieces)
				}
				p.from = from
				if p.kind == "Rule" {
					p.groups = slices.Clone(groups)
				}
			}
			if t.Name.Space == xccdf && t.Name.Local == "Group" {
				id := attr(t, "id")
				groups = append(groups, id)
				st.off[id] = slices.Contains([]string{"false", "0"}, attr(t, "selected"))
			}
			open, pieces = append(open, t.Name), append(pieces, p)
			for _, a := range t.Attr {
				st.name(innermost(pieces), []byte(a.Value))
			}
		case xml.CharData:
			st.name(innermost(pieces), bytes.TrimSpace(t))
		case xml.EndElement:
			if p := pieces[len(pieces)-1]; p != nil {
				p.to = s.dec.InputOffset()
			}
			if t.Name.Space == xccdf && t.Name.Local == "Group" {
				groups = groups[:len(groups)-1]
			}
			open, pieces = open[:len(open)-1], pieces[:len(pieces)-1]
		}
	}
}

// innermost returns the last one that is a piece.
func innermost(open []*piece) *piece {
	for _, p := range slices.Backward(open) {
		if p != nil {
			return p
		}
	}
	return nil
}

// name remembers what a piece, or what is outside of all, says.
func (st *stream) name(p *piece, text []byte) {
	switch {
	case len(text) == 0 || len(text) > maxName:
	case p == nil:
		st.outside = append(st.outside, string(text))
	default:
		p.names = append(p.names, string(text))
	}
}

// piece files an element that can be left out, and returns nil for every other.
func (st *stream) piece(e xml.StartElement, above xml.Name, in *piece) *piece {
	p := &piece{kind: e.Name.Local, id: attr(e, "id")}
	switch space := e.Name.Space; {
	case space == xccdf && (p.kind == "fix" || p.kind == "reference" && !strings.HasPrefix(attr(e, "href"), cisRefs)),
		above.Space == ocilSpace && slices.Contains(ocilLists, above.Local) && in == nil:
		st.needless = append(st.needless, p)
	case space == xccdf && p.kind == "Profile" && in == nil:
		st.profiles[p.id] = p
	case space == xccdf && p.kind == "Rule" && in == nil:
		st.rules[p.id] = p
	case above.Space == ovalSpace && slices.Contains(ovalLists, above.Local) && in == nil:
		st.entries[p.id] = append(st.entries[p.id], p)
	case space == xccdf && in != nil && (in.kind == "Profile" || in.kind == "Rule") && slices.Contains(profileParts, p.kind):
		p.id = attr(e, "idref")
		in.parts = append(in.parts, p)
	default:
		return nil
	}
	return p
}

// selected are the rules that a profile selects by its own.
func (p *piece) selected() map[string]bool {
	out := map[string]bool{}
	for _, s := range p.parts {
		if s.kind == "select" {
			out[s.id] = slices.Contains(s.names, "true") || slices.Contains(s.names, "1")
		}
	}
	return out
}

// wanted are the profiles that evaluations of these profiles read, with those that they build on, and the rules: these and what they
// demand, and with all whatever the profiles select.
func (st *stream) wanted(profiles, rules []string, all bool) (keptProfiles, keptRules map[string]bool) {
	keptProfiles, keptRules = map[string]bool{}, map[string]bool{}
	for todo := slices.Clone(profiles); len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		p := st.profiles[id]
		if p == nil || keptProfiles[id] {
			continue
		}
		keptProfiles[id] = true
		for _, name := range p.names {
			if st.profiles[name] != nil { // it extends that one
				todo = append(todo, name)
			}
		}
		for rule, on := range p.selected() {
			if on && all {
				rules = append(slices.Clip(rules), rule)
			}
		}
	}
	for todo := slices.Clone(rules); len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		r := st.rules[id]
		if r == nil || keptRules[id] {
			continue
		}
		keptRules[id] = true
		for _, part := range r.parts {
			if part.kind == "requires" {
				todo = append(todo, strings.Fields(part.id)...)
			}
		}
	}
	return keptProfiles, keptRules
}

// checks are the entries of OVAL that these rules' checks, or something outside of all rules, lead to.
func (st *stream) checks(rules map[string]bool) map[string]bool {
	kept := map[string]bool{}
	todo := slices.Clone(st.outside)
	for id := range rules {
		todo = append(todo, st.rules[id].names...)
	}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if kept[id] || st.entries[id] == nil {
			continue
		}
		kept[id] = true
		for _, e := range st.entries[id] {
			todo = append(todo, e.names...)
		}
	}
	return kept
}

// thin returns the data stream without what an evaluation of these profiles, or of these rules in them, does not read, and how
// many elements were left out. Every byte that stays is as it was. With all, the rules come on top of all that the profiles select.
func (st *stream) thin(profiles, rules []string, all bool) ([]byte, int) {
	keptProfiles, keptRules := st.wanted(profiles, rules, all)
	drop := slices.Clone(st.needless)
	gone := func(part *piece) bool { return st.rules[part.id] != nil && !keptRules[part.id] }
	for id, p := range st.profiles {
		if !keptProfiles[id] {
			drop = append(drop, p)
			continue
		}
		for _, part := range p.parts {
			if gone(part) {
				drop = append(drop, part)
			}
		}
	}
	for id, r := range st.rules {
		if !keptRules[id] {
			drop = append(drop, r)
			continue
		}
		for _, part := range r.parts {
			if part.kind == "conflicts" && gone(part) {
				drop = append(drop, part)
			}
		}
	}
	checks := st.checks(keptRules)
	for id, entries := range st.entries {
		if !checks[id] {
			drop = append(drop, entries...)
		}
	}
	return without(st.data, drop), len(drop)
}

// without cuts pieces out. One may lie in another.
func without(data []byte, drop []*piece) []byte {
	slices.SortFunc(drop, func(a, b *piece) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	var out bytes.Buffer
	at := int64(0)
	for _, p := range drop {
		if p.from < at {
			continue
		}
		out.Write(data[at:p.from])
		at = p.to
	}
	out.Write(data[at:])
	return out.Bytes()
}

// effective are the rules that an evaluation of a profile evaluates: it selects them, and no group around them is off.
func (st *stream) effective(p *piece) map[string]bool {
	said, out := p.selected(), map[string]bool{}
	for id, r := range st.rules {
		off := func(group string) bool {
			on, ok := said[group]
			return ok && !on || !ok && st.off[group]
		}
		if said[id] && !slices.ContainsFunc(r.groups, off) {
			out[id] = true
		}
	}
	return out
}

// shared parts the rules of profile small into those whose result an evaluation of profile large has too, and those that need one
// of their own: large does not evaluate them, a value that they name is set otherwise, or a rule that they demand or exclude is on
// in one of the two only. Known is false when a profile is not there or builds on another one.
func (st *stream) shared(small, large string) (same map[string]bool, own []string, known bool) {
	s, l := st.profiles[small], st.profiles[large]
	if s == nil || l == nil || s.extends(st) || l.extends(st) {
		return nil, nil, false
	}
	of, in, differ := st.effective(s), st.effective(l), differently(s, l)
	alone := map[string]bool{}
	for id, r := range st.rules {
		alone[id] = alone[id] || !in[id] || differ[id] || slices.ContainsFunc(r.names, func(n string) bool { return differ[n] })
		for _, part := range r.parts {
			for _, other := range strings.Fields(part.id) {
				if of[id] != in[id] || of[other] != in[other] {
					alone[id], alone[other] = true, true
				}
			}
		}
	}
	same = map[string]bool{}
	for id := range of {
		if alone[id] {
			own = append(own, id)
		} else {
			same[id] = true
		}
	}
	slices.Sort(own)
	return same, own, true
}

// extends reports whether a profile names another one.
func (p *piece) extends(st *stream) bool {
	return slices.ContainsFunc(p.names, func(n string) bool { return n != p.id && st.profiles[n] != nil })
}

// differently are the values and rules that two profiles set differently.
func differently(a, b *piece) map[string]bool {
	set := func(p *piece) map[string]string {
		out := map[string]string{}
		for _, part := range p.parts {
			if part.kind != "select" {
				out[part.id] += fmt.Sprintf("%s %q;", part.kind, part.names)
			}
		}
		return out
	}
	x, y := set(a), set(b)
	differ := map[string]bool{}
	for id, v := range x {
		differ[id] = y[id] != v
	}
	for id, v := range y {
		differ[id] = x[id] != v
	}
	return differ
}
