package downstream

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	maxRows  = 60    // of packages
	maxCVEs  = 100   // by name
	maxBody  = 60000 // characters; GitHub takes 65536
	sectEnds = "<!-- /imagefactory -->"
)

var section = regexp.MustCompile(`(?s)<!-- imagefactory (\S+) -->.*?<!-- /imagefactory -->`)

// mark is how a request's text says which digest it is about.
func mark(to factory.Ref) string {
	return "<!-- imagefactory " + to.Repository + "@" + string(to.Digest) + " -->"
}

// bases are what our commit moves to, each once, this notice's first.
func (p *pull) bases() (all []factory.Ref) {
	for _, b := range p.moves {
		if !slices.Contains(all, b.to) {
			all = append(all, b.to)
		}
	}
	return all
}

func (p *pull) title() string {
	bases := p.bases()
	if len(bases) > 1 {
		var names []string
		for _, b := range bases {
			names = append(names, b.Name())
		}
		slices.Sort(names)
		return "Bases " + strings.Join(slices.Compact(names), ", ")
	}
	title := "Base " + p.to.Name() + " " + cmp.Or(p.to.Tag, p.to.Digest.Short())
	switch fixed := p.notice.Fixed; len(fixed) {
	case 0:
	case 1:
		title += ": fixes " + plain(fixed[0])
	default:
		title += fmt.Sprintf(": fixes %s and %d more", plain(fixed[0]), len(fixed)-1)
	}
	return title
}

// commitMessage ends in trailers, by which the commit is known again.
func (p *pull) commitMessage(tree string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n\n", p.title(), plain(p.notice.Trigger.Reason))
	for _, m := range p.moves {
		fmt.Fprintf(&b, "%s%s %s\n", trailerMoves, m.to, m.file)
	}
	fmt.Fprintf(&b, "%s%s\n%s%s\n", trailerCause, plain(p.notice.Trigger.ID), trailerTree, tree)
	return b.String()
}

// body is the request's text: a section for each base, and the rules. Sections of other notices are taken over as they are.
func (p *pull) body(left []string) string {
	parts := []string{p.section()}
	if p.open != nil {
		for _, m := range section.FindAllStringSubmatch(p.open.Body, -1) {
			if slices.ContainsFunc(p.bases(), func(r factory.Ref) bool {
				return r.Repository != p.to.Repository && mark(r) == "<!-- imagefactory "+m[1]+" -->"
			}) {
				parts = append(parts, m[0])
			}
		}
	}
	if len(left) > 0 {
		parts = append(parts, "Left alone, look for yourself:\n\n"+list(left, func(l string) string { return "- " + code(l) + "\n" }, maxRows))
	}
	rules := "---\nThe image factory keeps this request up to date: a newer release moves the branch `" + p.branch + "` on top of `" + p.target + "` again. It does not touch the branch once somebody else has committed to it. Close the request, and this digest is not proposed again."
	for len(parts) > 1 && len(strings.Join(parts, "\n\n"))+len(rules) > maxBody {
		parts = parts[:len(parts)-1]
	}
	return strings.Join(append(parts, rules), "\n\n")
}

// section is what this notice has to say.
func (p *pull) section() string {
	n, t := p.notice, p.notice.Trigger
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n### %s %s\n\n", mark(p.to), plain(t.Image), p.to.Tag)
	if t.Urgent {
		b.WriteString("**Urgent**: an emergency rebuild.\n\n")
	}
	fmt.Fprintf(&b, "`%s@%s` came into **%s**: %s.\n\n", p.to.Repository, p.to.Digest, t.Env, plain(t.Reason))
	switch {
	case n.Before == "":
		fmt.Fprintf(&b, "Nothing of %s was there before: there is nothing to compare it with.\n\n", plain(t.Image))
	case len(n.Packages) == 0:
		fmt.Fprintf(&b, "Before it, %s was there. Both have the same packages.\n\n", code(n.Before))
	default:
		fmt.Fprintf(&b, "Before it, %s was there.\n\n", code(n.Before))
	}
	if len(n.Fixed) > 0 {
		fmt.Fprintf(&b, "Fixes:\n\n%s\n", list(n.Fixed, func(id string) string { return "- " + code(id) + "\n" }, maxCVEs))
	}
	if len(n.Packages) > 0 {
		b.WriteString("| package | before | now | fixes |\n|---|---|---|---|\n")
		b.WriteString(list(n.Packages, row, maxRows) + "\n")
	}
	ref := p.to.Repository + "@" + string(p.to.Digest)
	fmt.Fprintf(&b, "Verify it, with the factory's public key:\n\n```\nfactory verify --key cosign.pub --env %s %s:%s\ncosign verify --key cosign.pub --insecure-ignore-tlog=true %s\n```\n", t.Env, p.to.Repository, cmp.Or(p.to.Tag, "TAG"), ref)
	fmt.Fprintf(&b, "\nTrigger %s, key %s.\n%s", code(t.ID), code(t.Key), sectEnds)
	return b.String()
}

func row(c factory.PackageChange) string {
	cves := make([]string, 0, len(c.CVEs))
	for _, id := range c.CVEs[:min(len(c.CVEs), 10)] {
		cves = append(cves, code(id))
	}
	if more := len(c.CVEs) - len(cves); more > 0 {
		cves = append(cves, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", code(c.Name), code(c.Old), code(c.New), strings.Join(cves, ", "))
}

// list writes at most so many, and says how many it leaves out.
func list[T any](all []T, line func(T) string, most int) string {
	var b strings.Builder
	for _, one := range all[:min(len(all), most)] {
		b.WriteString(line(one))
	}
	if more := len(all) - most; more > 0 {
		fmt.Fprintf(&b, "\n%d more are left out here.\n", more)
	}
	return b.String()
}

// code is a text that Markdown shows as it is; nothing for nothing.
func code(s string) string {
	if s = strings.NewReplacer("`", "'", "|", "¦", "<!--", "<! --").Replace(strings.Join(strings.Fields(s), " ")); s == "" {
		return ""
	}
	return "`" + s + "`"
}

// plain is a text without what Markdown, HTML and mentions are made of.
func plain(s string) string {
	return strings.NewReplacer("`", "'", "<", "‹", ">", "›", "@", "(at)", "[", "(", "]", ")", "|", "¦", "*", "·").Replace(strings.Join(strings.Fields(s), " "))
}
