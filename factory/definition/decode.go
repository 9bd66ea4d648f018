package definition

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// decoder fills the file types from nodes and collects what does not fit. The rules stand in the types' tags:
//
//	yaml   the key
//	is     the rule (see rules) of a text, of a list's texts or of a mapping's values
//	keys   the rule of a mapping's keys
//	enum   the only values of a text, comma-separated
//	range  the least and the greatest number, min,max
//	need   yes: the key must be there and must not be empty
//	argv   yes: the order matters and words may repeat; an image's own list replaces a shared one
//	doc    what the key means, for the schema
type decoder struct {
	problems problems
	partial  bool // a shared part: others may bring what it needs
	// fine are texts that were looked at before and follow their rule: what many images continue is looked at once.
	fine map[*node]bool
}

var (
	textType     = reflect.TypeFor[text]()
	numberType   = reflect.TypeFor[number]()
	freeType     = reflect.TypeFor[free]()
	positionType = reflect.TypeFor[factory.Position]()
	tableType    = reflect.TypeFor[interface{ isTable() }]()
)

// decode fills into, a pointer to a file type.
func (d *decoder) decode(n *node, into any) {
	d.value(n, reflect.ValueOf(into).Elem(), "", "")
}

func (d *decoder) value(n *node, v reflect.Value, tag reflect.StructTag, path string) {
	switch t := v.Type(); {
	case t == textType:
		d.text(n, v.Addr().Interface().(*text), tag, path)
	case t == numberType:
		d.number(n, v.Addr().Interface().(*number), tag, path)
	case t == freeType:
		d.free(n, v.Addr().Interface().(*free), path)
	case t.Kind() == reflect.Bool:
		if n.kind != boolNode {
			d.mismatch(n, path, "true or false")
			return
		}
		v.SetBool(n.text == "true")
	case t.Implements(tableType):
		d.table(n, v, tag, path)
	case t.Kind() == reflect.Slice:
		d.list(n, v, tag, path)
	case t.Kind() == reflect.Struct:
		d.structure(n, v, path)
	default:
		panic("definition: no decoding for " + t.String())
	}
}

func (d *decoder) structure(n *node, v reflect.Value, path string) {
	t := v.Type()
	if n.kind != tableNode && !(n.kind == nullNode && path == "") {
		d.mismatch(n, path, "a mapping with "+strings.Join(keysOf(t), ", "))
		return
	}
	l := layoutOf(t)
	for at, f := range n.fields {
		if first := slices.IndexFunc(n.fields[:at], func(e field) bool { return e.key == f.key }); first >= 0 {
			d.problems.add(f.at, "keep one of them", "key %q is there twice, first in line %d", f.key, n.fields[first].at.Line)
			continue
		}
		i := slices.Index(l.keys, f.key)
		if i < 0 {
			d.problems.add(f.at, nearest(f.key, l.keys), "unknown key %.80q%s", f.key, within(path))
			continue
		}
		sf := &l.fields[i]
		d.value(f.value, v.FieldByIndex(sf.Index), sf.Tag, dotted(path, f.key))
	}
	for _, i := range l.needed {
		if key := l.keys[i]; !d.partial && !slices.ContainsFunc(n.fields, func(f field) bool { return f.key == key }) {
			d.problems.add(n.at, "add "+key+": "+l.fields[i].Tag.Get("doc"), "key %q is missing%s", key, within(path))
		}
	}
	for _, i := range l.places {
		v.Field(i).Set(reflect.ValueOf(n.at))
	}
}

func (d *decoder) list(n *node, v reflect.Value, tag reflect.StructTag, path string) {
	if n.kind != listNode {
		d.mismatch(n, path, "a list")
		return
	}
	if len(n.items) == 0 && tag.Get("need") == "yes" {
		d.problems.add(n.at, "", "%s: expected at least one entry", path)
	}
	if len(n.items) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		d.value(item, v.Index(i), tag, path)
	}
	if words, ok := v.Addr().Interface().(*[]text); ok && len(*words) > 1 {
		d.once(*words, tag, path)
	}
}

// once tells of words that are there twice and must not be.
func (d *decoder) once(words []text, tag reflect.StructTag, path string) {
	seen := make(map[string]int, len(words))
	for _, w := range words {
		if w.Value == "" {
			continue
		}
		if line, twice := seen[w.Value]; twice && tag.Get("argv") == "" {
			d.problems.add(w.At, "keep one of them", "%s: %.80q is there twice, first in line %d", path, w.Value, line)
		}
		seen[w.Value] = w.At.Line
	}
}

func (d *decoder) table(n *node, v reflect.Value, tag reflect.StructTag, path string) {
	if n.kind != tableNode {
		d.mismatch(n, path, "a mapping")
		return
	}
	seen := map[string]factory.Position{}
	for _, f := range n.fields {
		if first, twice := seen[f.key]; twice {
			d.problems.add(f.at, "keep one of them", "key %q is there twice, first in line %d", f.key, first.Line)
			continue
		}
		seen[f.key] = f.at
		r := reflect.New(v.Type().Elem()).Elem()
		key := &node{at: f.at, kind: textNode, text: f.key}
		d.text(key, r.FieldByName("Key").Addr().Interface().(*text), reflect.StructTag(`is:"`+tag.Get("keys")+`"`), path)
		d.value(f.value, r.FieldByName("Value"), tag, dotted(path, f.key))
		v.Set(reflect.Append(v, r))
	}
}

func (d *decoder) text(n *node, into *text, tag reflect.StructTag, path string) {
	if n.kind == textNode && d.fine[n] {
		into.Value, into.At = n.text, n.at
		return
	}
	r := rules[tag.Get("is")]
	want, enum := r.want, tag.Get("enum")
	choices := strings.Split(enum, ",")
	if enum != "" {
		want = strings.Join(choices, " or ")
	}
	if n.kind != textNode {
		hint := ""
		if n.text != "" {
			hint = "put it in quotes: " + strconv.Quote(n.text)
		}
		d.problems.add(n.at, hint, "%s: expected %s, found %s", path, want, n.kind)
		return
	}
	into.Value, into.At = n.text, n.at
	detail, ok := "", slices.Contains(choices, n.text)
	if enum == "" {
		detail, ok = r.ok(n.text)
	} else if !ok {
		detail = nearest(n.text, choices)
	}
	if !ok {
		d.problems.add(n.at, detail, "%s: expected %s, found %.80q", path, want, n.text)
	} else if d.fine != nil {
		d.fine[n] = true
	}
}

func (d *decoder) number(n *node, into *number, tag reflect.StructTag, path string) {
	least, greatest := bounds(tag)
	if n.kind != intNode || n.whole < int64(least) || n.whole > int64(greatest) {
		d.mismatch(n, path, "a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(greatest))
		return
	}
	into.Value, into.At = int(n.whole), n.at
}

func (d *decoder) free(n *node, into *free, path string) {
	const want = "text, a number, true, false or a list of text"
	switch n.kind {
	case textNode:
		into.Value = n.text
	case boolNode:
		into.Value = n.text == "true"
	case intNode:
		into.Value = n.whole
	case floatNode:
		if math.IsInf(n.number, 0) || math.IsNaN(n.number) {
			d.mismatch(n, path, want)
			return
		}
		into.Value = n.number
	case listNode:
		all := []string{}
		for _, item := range n.items {
			if item.kind != textNode {
				d.mismatch(item, path, "text (a list of role variables holds text only)")
				continue
			}
			all = append(all, item.text)
		}
		into.Value = all
	default:
		d.mismatch(n, path, want)
	}
}

func (d *decoder) mismatch(n *node, path, want string) {
	found := string(n.kind)
	if n.text != "" {
		found += " " + strconv.Quote(n.text[:min(len(n.text), 80)])
	}
	if path == "" {
		path = "the file"
	}
	d.problems.add(n.at, "", "%s: expected %s, found %s", path, want, found)
}

func bounds(tag reflect.StructTag) (least, greatest int) {
	low, high, _ := strings.Cut(tag.Get("range"), ",")
	least, _ = strconv.Atoi(low)
	greatest, _ = strconv.Atoi(high)
	return least, greatest
}

// layout is what the decoder knows of a file type.
type layout struct {
	fields []reflect.StructField // those that have a key
	keys   []string              // in the same order
	needed []int                 // those of them that must be there
	places []int                 // of the fields that say where it stands
}

var layouts sync.Map // by type: reflection is slow, and there are a few dozen of them

func layoutOf(t reflect.Type) *layout {
	if known, ok := layouts.Load(t); ok {
		return known.(*layout)
	}
	l := &layout{}
	for _, sf := range reflect.VisibleFields(t) {
		if key := sf.Tag.Get("yaml"); key != "" {
			if sf.Tag.Get("need") == "yes" {
				l.needed = append(l.needed, len(l.keys))
			}
			l.fields, l.keys = append(l.fields, sf), append(l.keys, key)
		}
		if sf.Type == positionType {
			l.places = append(l.places, sf.Index[0])
		}
	}
	layouts.Store(t, l)
	return l
}

// fieldsOf returns the fields that have a key; keysOf returns those keys in the same order.
func fieldsOf(t reflect.Type) []reflect.StructField { return layoutOf(t).fields }

func keysOf(t reflect.Type) []string { return layoutOf(t).keys }

func within(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
