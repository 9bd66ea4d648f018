package upstream

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// history tells which uploads were made for a release of the distribution.
type history struct {
	codename string
	version  *regexp.Regexp // that only an upload for this release has: 1.0-1+deb12u1
	began    time.Time
}

// Suites that build on a release and are not part of it.
var besides = regexp.MustCompile(`-(backports|fasttrack|sloppy)`)

// historyOf finds out when the release was made from its oldest update: nothing else in a package tells.
func historyOf(d factory.Distro, logs []changelogOf) history {
	h := history{codename: d.Codename, version: regexp.MustCompile(`[+~]deb` + regexp.QuoteMeta(d.Release) + `u[0-9]`)}
	for _, log := range logs {
		for _, e := range log.entries {
			if h.has(log, e) && h.version.MatchString(e.version) && !e.date.IsZero() && (h.began.IsZero() || e.date.Before(h.began)) {
				h.began = e.date
			}
		}
	}
	return h
}

// has reports whether an entry is an upload for the release itself, which the release can have had.
func (h history) has(log changelogOf, e entry) bool {
	return e.source == log.source && compareVersions(e.version, log.version) <= 0 &&
		(h.version.MatchString(e.version) || slices.ContainsFunc(e.suites, h.names))
}

func (h history) names(suite string) bool {
	return h.codename != "" && (suite == h.codename || strings.HasPrefix(suite, h.codename+"-")) && !besides.MatchString(suite)
}

// advisories returns what the uploads for the release fixed, sorted.
func (h history) advisories(logs []changelogOf) []factory.Advisory {
	all := []factory.Advisory{}
	for _, log := range logs {
		all = append(all, h.fixes(log)...)
	}
	slices.SortFunc(all, func(a, b factory.Advisory) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Vulnerability, b.Vulnerability))
	})
	return all
}

// fixes goes through one changelog, the oldest entry first. The first upload that mentions a vulnerability fixed it. What was
// uploaded elsewhere since the release began came with the next upload for it; what was there before, the release always had.
func (h history) fixes(log changelogOf) (all []factory.Advisory) {
	seen := map[string]bool{}
	var coming []mention
	named := false // by what is coming
	for _, e := range slices.Backward(log.entries) {
		switch {
		case e.rebuild:
			continue
		case h.has(log, e):
		case h.began.IsZero() || e.date.Before(h.began):
			for _, m := range e.fixes {
				seen[m.id] = true
			}
			continue
		default:
			coming, named = append(coming, e.fixes...), named || e.names
			continue
		}
		fixed := append(coming, e.fixes...)
		if len(fixed) == 0 && !e.names && !named && h.embargoed(e) {
			fixed = []mention{{"DEBSEC-" + log.source + "-" + e.version, e.title}}
		}
		for _, m := range fixed {
			if !seen[m.id] {
				seen[m.id] = true
				all = append(all, factory.Advisory{Source: log.source, Vulnerability: m.id, Fixed: e.version, Date: e.date, Title: m.title})
			}
		}
		coming, named = nil, false
	}
	return all
}

// data are sources that hold no code. Their updates come by the security suite so that they come quickly.
var data = []string{"debian-archive-keyring", "distro-info-data", "tzdata"}

// embargoed reports whether an upload was made for the security suite; one that names nothing was prepared in secret.
func (h history) embargoed(e entry) bool {
	return slices.ContainsFunc(e.suites, func(s string) bool { return strings.HasSuffix(s, "-security") }) && !slices.Contains(data, e.source)
}
