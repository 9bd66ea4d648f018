package rebase

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Config merges the runtime configuration of an image (the "config" of an OCI configuration) when its base is exchanged. What the image
// did not change of its old base, it has from the new one; what it did, stays. Variables, labels, ports and volumes are compared
// one by one. Who has an entrypoint of his own keeps his command too, for they belong together.
func Config(was, is, own map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	merged := map[string]json.RawMessage{}
	keys := map[string]bool{}
	for _, m := range []map[string]json.RawMessage{was, is, own} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		value, err := mergeField(k, was, is, own)
		if err != nil {
			return nil, err
		}
		if value != nil && string(value) != "null" {
			merged[k] = value
		}
	}
	return merged, nil
}

func mergeField(k string, was, is, own map[string]json.RawMessage) (json.RawMessage, error) {
	switch k {
	case "Env":
		return mergeEnv(was[k], is[k], own[k])
	case "Labels", "ExposedPorts", "Volumes":
		return mergeObject(was[k], is[k], own[k])
	case "Cmd":
		if !equalJSON(own["Entrypoint"], was["Entrypoint"]) {
			return own[k], nil
		}
	}
	if equalJSON(own[k], was[k]) {
		return is[k], nil
	}
	return own[k], nil
}

// equalJSON compares values; none and null are the same.
func equalJSON(a, b json.RawMessage) bool {
	canonical := func(m json.RawMessage) string {
		var v any
		if len(m) == 0 || json.Unmarshal(m, &v) != nil {
			return string(m)
		}
		if v == nil {
			return ""
		}
		text, _ := json.Marshal(v)
		return string(text)
	}
	return canonical(a) == canonical(b)
}

// Values merges named values: those that the image has like its old base, it gets from the new one.
func Values(was, is, own map[string]string) map[string]string {
	merged := map[string]string{}
	for _, m := range []map[string]string{is, own} {
		for k := range m {
			mine, have := own[k]
			old, had := was[k]
			if have == had && mine == old {
				mine, have = is[k], false
				_, have = is[k]
			}
			if have {
				merged[k] = mine
			}
		}
	}
	return merged
}

func mergeObject(was, is, own json.RawMessage) (json.RawMessage, error) {
	texts := make([]map[string]string, 3)
	for i, raw := range []json.RawMessage{was, is, own} {
		object := map[string]json.RawMessage{}
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &object); err != nil {
				return nil, err
			}
		}
		texts[i] = map[string]string{}
		for k, v := range object {
			texts[i][k] = string(v)
		}
	}
	merged := map[string]json.RawMessage{}
	for k, v := range Values(texts[0], texts[1], texts[2]) {
		merged[k] = json.RawMessage(v)
	}
	if len(merged) == 0 {
		return nil, nil
	}
	return json.Marshal(merged)
}

// mergeEnv keeps the new base's order, and what the image added after it.
func mergeEnv(was, is, own json.RawMessage) (json.RawMessage, error) {
	lists, values := make([][]string, 3), make([]map[string]string, 3)
	for i, raw := range []json.RawMessage{was, is, own} {
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &lists[i]); err != nil {
				return nil, err
			}
		}
		values[i] = map[string]string{}
		for _, e := range lists[i] {
			k, v, _ := strings.Cut(e, "=")
			values[i][k] = v
		}
	}
	merged, done := Values(values[0], values[1], values[2]), map[string]bool{}
	var all []string
	for _, e := range slices.Concat(lists[1], lists[2]) {
		k, _, _ := strings.Cut(e, "=")
		if v, there := merged[k]; there && !done[k] {
			done[k] = true
			all = append(all, k+"="+v)
		}
	}
	if all == nil {
		return nil, nil
	}
	return json.Marshal(all)
}
