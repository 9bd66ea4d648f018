package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// changeLine is a lock's change in one line.
func changeLine(r lockResult) string {
	c := r.Change
	if c.First {
		return "first lock, " + count(packageCount(r.Lock), "package")
	}
	var parts []string
	for i, p := range c.Packages {
		if i == 3 {
			parts = append(parts, count(len(c.Packages)-i, "more package"))
			break
		}
		parts = append(parts, changeText(p))
	}
	parts = append(parts, c.Other...)
	if cves := c.CVEs(); len(cves) > 0 {
		parts = append(parts, "fixes "+count(len(cves), "CVE"))
	}
	return strings.Join(parts, "; ")
}

func changeText(p factory.PackageChange) string {
	switch {
	case p.Old == "":
		return p.Name + " " + p.New + " added"
	case p.New == "":
		return p.Name + " " + p.Old + " removed"
	case p.Old == p.New:
		return p.Name + " " + p.New + " has other content"
	}
	return p.Name + " " + p.Old + " → " + p.New
}

// changeMessage is the text of a commit that moves a lock.
func changeMessage(r lockResult) string {
	c := r.Change
	var b strings.Builder
	switch cves := c.CVEs(); {
	case c.First:
		fmt.Fprintf(&b, "%s: first lock (%s)\n", c.Image, count(packageCount(r.Lock), "package"))
		return b.String()
	case len(cves) > 0:
		fmt.Fprintf(&b, "%s: update %s, fixing %s\n", c.Image, count(len(c.Packages), "package"), shortList(cves, 3))
	case len(c.Packages) > 0:
		fmt.Fprintf(&b, "%s: update %s\n", c.Image, count(len(c.Packages), "package"))
	default:
		fmt.Fprintf(&b, "%s: %s changed\n", c.Image, strings.Join(c.Other, ", "))
	}
	b.WriteString("\n" + changeTable(c))
	return b.String()
}

// changeTable lists every change, one a line.
func changeTable(c factory.LockChange) string {
	var b strings.Builder
	for _, p := range c.Packages {
		b.WriteString("  " + changeText(p))
		if len(p.CVEs) > 0 {
			b.WriteString("  fixes " + strings.Join(p.CVEs, " "))
		}
		if by := published(c.Advisories, p.Name); by != "" {
			b.WriteString(" (" + by + ")")
		}
		b.WriteString("\n")
	}
	for _, o := range c.Other {
		b.WriteString("  " + o + "\n")
	}
	return b.String()
}

// published names the advisories that bring a package, each with its severity.
func published(all []factory.Advisory, name string) string {
	var ids []string
	for _, a := range all {
		id := a.ID
		if a.Severity != "" {
			id += ", " + string(a.Severity)
		}
		if a.Source == name && a.ID != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, "; ")
}

func shortList(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}
