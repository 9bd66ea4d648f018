package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// readEntitlements reads entitlements: of factory.yaml, the client certificates that archives ask for: files of this machine by
// archive id, which are not read here.
func (c *config) readEntitlements(path string, line int, raw map[string]any) []error {
	var problems []error
	bad := func(hint, format string, args ...any) {
		problems = append(problems, &factory.Problem{Kind: factory.ErrInvalid, What: "entitlements: " + fmt.Sprintf(format, args...), Where: factory.Position{File: path, Line: line}, Hint: hint})
	}
	const form = "entitlements: {ARCHIVE: {cert: FILE, key: FILE, ca: FILE}}"
	for _, id := range slices.Sorted(maps.Keys(raw)) {
		fields, ok := raw[id].(map[string]any)
		if !ok {
			bad(form, "%s is no mapping", id)
			continue
		}
		var e factory.Entitlement
		into := map[string]*string{"cert": &e.Cert, "key": &e.Key, "ca": &e.CA}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			file, isText := fields[name].(string)
			file = strings.TrimPrefix(file, "file:")
			switch {
			case into[name] == nil:
				bad(form, "%s has no %q", id, name)
			case !isText || !filepath.IsAbs(file):
				bad("write the path from the root; never the certificate or the key itself", "%s.%s is no absolute path of a file", id, name)
			default:
				*into[name] = file
			}
		}
		if fields["cert"] == nil || fields["key"] == nil {
			bad(form, "%s needs cert and key", id)
		}
		c.Entitlements[id] = e
	}
	return problems
}
