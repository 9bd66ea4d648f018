package definition

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	folder         = "baseimages"
	ownersPath     = folder + "/owners.yaml"
	codeownersPath = "CODEOWNERS"
)

// codeRule is one line of CODEOWNERS.
type codeRule struct {
	at      factory.Position
	pattern string
	owners  []string
	path    string // of the pattern, without slashes around it
	glob    bool   // path is one
}

// parseCodeowners reads the lines that name owners. Comments and GitLab's section headers are none.
func parseCodeowners(b []byte) (rules []codeRule) {
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") || strings.HasPrefix(words[0], "[") || strings.HasPrefix(words[0], "^[") {
			continue
		}
		at := factory.Position{File: codeownersPath, Line: i + 1, Column: 1 + strings.Index(line, words[0])}
		path := strings.TrimSuffix(strings.Trim(words[0], "/"), "/**")
		rules = append(rules, codeRule{at: at, pattern: words[0], owners: words[1:], path: path, glob: strings.ContainsAny(path, `*?[\`)})
	}
	return rules
}

// covers reports whether a rule decides about an image's folder. It knows the patterns that can: *, a folder above it
// and a glob for one of its parts.
func (r codeRule) covers(image string) bool {
	if r.pattern == "*" || r.pattern == "**" {
		return true
	}
	if !r.glob {
		name, inside := strings.CutPrefix(r.path, folder+"/")
		return r.path == folder || inside && strings.TrimSuffix(name, "/image.yaml") == image
	}
	target := folder + "/" + image
	if ok, _ := path.Match(r.path, target); ok {
		return true
	}
	ok, _ := path.Match(r.path, target+"/image.yaml")
	return ok
}

func codePattern(image string) string { return "/" + folder + "/" + image + "/" }

// checkCodeowners compares CODEOWNERS with owners.yaml: every image has one line of its own, that line names exactly the
// team's code owners, and no later line takes the image away again. It returns what is wrong, by image.
func (l *loader) checkCodeowners(rules []codeRule) (wrong map[string]problems) {
	wrong = map[string]problems{}
	for _, r := range l.owners.Images {
		image := r.Key.Value
		team, ok := l.owners.Teams.find(r.Value.Value)
		if !ok {
			continue // told by checkOwners
		}
		before := len(l.problems)
		l.checkCodeRule(rules, image, team.Value)
		if len(l.problems) > before {
			wrong[image] = slices.Clone(l.problems[before:])
		}
	}
	known := l.known()
	for _, r := range rules {
		rest, ok := strings.CutPrefix(strings.Trim(r.pattern, "/"), folder+"/")
		if name := strings.TrimSuffix(rest, "/**"); ok && !strings.ContainsAny(rest, "*?[") && !slices.Contains(known, name) {
			l.problems.add(r.at, nearest(name, known), "%.80q names no image and no file in %s", r.pattern, folder)
		}
	}
	return wrong
}

func (l *loader) checkCodeRule(rules []codeRule, image string, team teamFile) {
	want := slices.Sorted(slices.Values(plain(team.Codeowners)))
	pattern := codePattern(image)
	line := fmt.Sprintf("%s %s", pattern, strings.Join(want, " "))
	i := slices.IndexFunc(rules, func(r codeRule) bool { return r.pattern == pattern })
	if i < 0 {
		l.problems.add(factory.Position{File: codeownersPath}, "add: "+line, "no line for %s", pattern)
		return
	}
	if !slices.Equal(slices.Sorted(slices.Values(rules[i].owners)), want) {
		l.problems.add(rules[i].at, "write: "+line, "%s differs from %s, which says %s", strings.Join(rules[i].owners, " "), ownersPath, strings.Join(want, " "))
	}
	for _, later := range rules[i+1:] {
		if later.covers(image) {
			l.problems.add(later.at, "move it up: the last line that matches counts", "%q takes %s away from the owners in line %d", later.pattern, pattern, rules[i].at.Line)
		}
	}
}

// checkOwners compares owners.yaml with the folders there are.
func (l *loader) checkOwners() {
	for _, r := range l.owners.Images {
		if r.Value.Value != "" {
			if _, ok := l.owners.Teams.find(r.Value.Value); !ok {
				l.problems.add(r.Value.At, nearest(r.Value.Value, l.owners.Teams.names()), "unknown team %.80q, expected one of teams", r.Value.Value)
			}
		}
		if !slices.Contains(l.names, r.Key.Value) {
			l.problems.add(r.Key.At, nearest(r.Key.Value, l.names), "no image %.80q in %s", r.Key.Value, folder)
		}
	}
}

// owner returns the team that answers for an image.
func (l *loader) owner(image string) factory.Owner {
	r, ok := l.owners.Images.find(image)
	if !ok {
		if l.owners.Where.Line > 0 { // otherwise the file itself is the problem
			l.problems.add(l.owners.Where, "add under images: "+image+": <team>", "nobody owns %s, expected exactly one team", image)
		}
		return factory.Owner{}
	}
	team, ok := l.owners.Teams.find(r.Value.Value)
	if !ok || !follow("contact", team.Value.Contacts) || !follow("codeowner", team.Value.Codeowners) {
		return factory.Owner{} // told where owners.yaml was read
	}
	return l.teams()[r.Value.Value]
}

// follow reports whether there are texts and all of them follow a rule.
func follow(name string, texts []text) bool {
	return len(texts) > 0 && !slices.ContainsFunc(texts, func(t text) bool { _, ok := rules[name].ok(t.Value); return !ok })
}

func (l *loader) teams() map[string]factory.Owner {
	all := map[string]factory.Owner{}
	for _, t := range l.owners.Teams {
		all[t.Key.Value] = factory.Owner{Team: t.Key.Value, Contacts: plain(t.Value.Contacts)}
	}
	return all
}
