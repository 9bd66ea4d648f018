package definition

import (
	"reflect"
	"slices"
)

// merge lays own over base: mappings merge, lists concatenate without repeating, own's scalars win, and a list marked
// argv is own's alone. The type says which is which; every value keeps its own place.
func merge(base, own *node, t reflect.Type, tag reflect.StructTag) *node {
	switch {
	case base == nil || base.kind == nullNode:
		return own
	case own == nil || own.kind == nullNode:
		return base
	case base.kind == tableNode && own.kind == tableNode:
		return mergeTables(base, own, t)
	case base.kind == listNode && own.kind == listNode && tag.Get("argv") == "":
		all := *own
		all.items = slices.Clone(base.items)
		for _, item := range own.items {
			if !slices.ContainsFunc(base.items, func(n *node) bool { return same(n, item) }) {
				all.items = append(all.items, item)
			}
		}
		return &all
	}
	return own
}

func mergeTables(base, own *node, t reflect.Type) *node {
	all := *own
	all.fields = slices.Clone(base.fields)
	merged := map[string]bool{}
	for _, f := range own.fields {
		i := slices.IndexFunc(base.fields, func(b field) bool { return b.key == f.key })
		if i < 0 || merged[f.key] { // a key that own has twice stays twice, for decoding to tell
			all.fields = append(all.fields, f)
			continue
		}
		merged[f.key] = true
		inner, tag := innerType(t, f.key)
		all.fields[i] = field{key: f.key, at: f.at, value: merge(base.fields[i].value, f.value, inner, tag)}
	}
	return &all
}

func innerType(t reflect.Type, key string) (reflect.Type, reflect.StructTag) {
	if t == nil || t.Kind() != reflect.Struct {
		return nil, ""
	}
	if i := slices.Index(keysOf(t), key); i >= 0 {
		sf := fieldsOf(t)[i]
		return sf.Type, sf.Tag
	}
	return nil, ""
}

// same reports whether two nodes say the same, wherever they stand.
func same(a, b *node) bool {
	return a.kind == b.kind && a.text == b.text &&
		slices.EqualFunc(a.items, b.items, same) &&
		slices.EqualFunc(a.fields, b.fields, func(x, y field) bool { return x.key == y.key && same(x.value, y.value) })
}
