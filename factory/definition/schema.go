package definition

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema returns the JSON schema (draft 2020-12) of image.yaml, for editors. Under $defs it also holds those of the other
// files: tests, waivers, owners, shared, profile, policy, pack and
// dependents. It ends with a newline. What a shared file may bring is not required.
func Schema() []byte {
	root := object(reflect.TypeFor[imageFile](), false)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "An image of the factory: baseimages/<name>/image.yaml"
	root["$defs"] = map[string]any{
		"tests":      object(reflect.TypeFor[testsFile](), false),
		"waivers":    object(reflect.TypeFor[waiversFile](), true),
		"owners":     object(reflect.TypeFor[ownersFile](), true),
		"shared":     object(reflect.TypeFor[sharedFile](), false),
		"profile":    object(reflect.TypeFor[profileFile](), true),
		"policy":     object(reflect.TypeFor[policiesFile](), false),
		"pack":       object(reflect.TypeFor[packFile](), true),
		"dependents": object(reflect.TypeFor[dependentsFile](), true),
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // maps, strings and numbers cannot fail
	}
	return append(b, '\n')
}

// object describes a mapping with known keys. Its keys are required only where no shared file can bring them.
func object(t reflect.Type, whole bool) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, sf := range fieldsOf(t) {
		key := sf.Tag.Get("yaml")
		p := describe(sf.Type, sf.Tag, whole)
		p["description"] = sf.Tag.Get("doc")
		properties[key] = p
		if whole && sf.Tag.Get("need") == "yes" {
			required = append(required, key)
		}
	}
	o := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		o["required"] = required
	}
	return o
}

func describe(t reflect.Type, tag reflect.StructTag, whole bool) map[string]any {
	switch {
	case t == textType:
		return describeText(tag)
	case t == numberType:
		least, greatest := bounds(tag)
		return map[string]any{"type": "integer", "minimum": least, "maximum": greatest}
	case t == freeType:
		return map[string]any{"anyOf": []any{
			map[string]any{"type": []string{"string", "number", "boolean"}},
			map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		}}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Implements(tableType):
		value, _ := t.Elem().FieldByName("Value")
		return map[string]any{
			"type":                 "object",
			"propertyNames":        map[string]any{"pattern": rules[tag.Get("keys")].pattern},
			"additionalProperties": describe(value.Type, tag, true),
		}
	case t.Kind() == reflect.Slice:
		list := map[string]any{"type": "array", "items": describe(t.Elem(), tag, true)}
		if tag.Get("argv") == "" && t.Elem() == textType {
			list["uniqueItems"] = true
		}
		if whole && tag.Get("need") == "yes" {
			list["minItems"] = 1
		}
		return list
	}
	return object(t, whole)
}

func describeText(tag reflect.StructTag) map[string]any {
	if choices := tag.Get("enum"); choices != "" {
		return map[string]any{"type": "string", "enum": strings.Split(choices, ",")}
	}
	r := rules[tag.Get("is")]
	text := map[string]any{"type": "string", "maxLength": r.length}
	if r.pattern != "" {
		text["pattern"] = r.pattern
	}
	return text
}
