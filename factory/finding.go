package factory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity is how bad a vulnerability is. Order: unknown < low < moderate < high < critical.
type Severity string

// The severities.
const (
	Unknown  Severity = "unknown" // nobody has said
	Low      Severity = "low"
	Moderate Severity = "moderate"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Severities are all severities, the worst first.
func Severities() []Severity { return []Severity{Critical, High, Moderate, Low, Unknown} }

// ParseSeverity reads a severity in anybody's words: MEDIUM and important are known too, negligible counts as low, and
// nothing at all is Unknown. Any other word is ErrInvalid.
func ParseSeverity(s string) (Severity, error) {
	switch strings.ToLower(s) {
	case "critical":
		return Critical, nil
	case "high", "important":
		return High, nil
	case "moderate", "medium":
		return Moderate, nil
	case "low", "negligible", "none":
		return Low, nil
	case "unknown", "":
		return Unknown, nil
	}
	return "", &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.40q is not a severity", s), Hint: "critical, high, moderate, low or unknown"}
}

// UnmarshalText reads what ParseSeverity reads.
func (s *Severity) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSeverity(string(b))
	return err
}

// Compare orders by how bad they are.
func (s Severity) Compare(t Severity) int {
	rank := map[Severity]int{Low: 1, Moderate: 2, High: 3, Critical: 4}
	return cmp.Compare(rank[s], rank[t])
}

// Finding is one vulnerability in one package of one image. Times that nobody knows are zero.
type Finding struct {
	Vulnerability string   `json:"vulnerability"`    // CVE-2026-1234, or the source's own id
	Package       string   `json:"package"`          // binary package
	Source        string   `json:"source,omitempty"` // source package; empty = the same
	Version       string   `json:"version"`          // installed
	Fixed         string   `json:"fixed,omitempty"`  // version that fixes it; empty = there is no fix
	Status        string   `json:"status,omitempty"` // in the data source's words: affected, will_not_fix, fix_deferred
	Severity      Severity `json:"severity"`
	SeverityBy    string   `json:"severityBy,omitempty"` // who said so: debian, nvd
	Title         string   `json:"title,omitempty"`
	URL           string   `json:"url,omitempty"`
	References    []string `json:"references,omitempty"`
	Advisory      string   `json:"advisory,omitempty"` // that fixes it, as its publisher numbers it: RHSA-2026:1234; empty = none is named
	Data          string   `json:"data,omitempty"`     // who says that this package has it: Debian Security Tracker
	Purl          string   `json:"purl,omitempty"`

	Platforms []Platform `json:"platforms,omitempty"` // sorted
	Published time.Time  `json:"published,omitzero"`  // of the vulnerability
	FixedOn   time.Time  `json:"fixedOn,omitzero"`    // when the fix was published, as far as the data source says

	// What is remembered of it, across rebuilds.
	FirstSeen  time.Time `json:"firstSeen,omitzero"`  // in any release of this image
	FixSeen    time.Time `json:"fixSeen,omitzero"`    // when a scan first knew a fix
	FixedSince time.Time `json:"fixedSince,omitzero"` // since when the image's newest release is without it
}

// Key says which finding it is, across rebuilds, versions and tags: the vulnerability and the package.
func (f Finding) Key() string { return f.Vulnerability + " " + f.Package }

// Compare orders the worst first, then by vulnerability and package.
func (f Finding) Compare(g Finding) int {
	return cmp.Or(g.Severity.Compare(f.Severity), cmp.Compare(f.Vulnerability, g.Vulnerability), cmp.Compare(f.Package, g.Package))
}

// DatabaseKind says where vulnerability data comes from.
type DatabaseKind string

// The kinds of vulnerability database.
const (
	// TrivyDatabase is the public one of the Trivy project, or a mirror or build of its form.
	TrivyDatabase DatabaseKind = "trivy"
	// ArchiveDatabase is what the archives themselves say: it knows what was fixed and since when, and not what is not fixed yet.
	// Of Debian it is read from the packages' changelogs, which know no severities; of RPM families from updateinfo.
	ArchiveDatabase DatabaseKind = "archive"
)

// Database is the vulnerability data that a scan used.
type Database struct {
	Kind       DatabaseKind `json:"kind"`
	Schema     int          `json:"schema"`
	Updated    time.Time    `json:"updated"` // as the data itself says; of several parts, the oldest one's date
	Digest     Digest       `json:"digest"`  // of its file
	Advisories int          `json:"advisories,omitempty"`
	// Origin is where it was had from, for people: a reference, a folder, archive ids.
	Origin string `json:"origin,omitempty"`
}

// String is how outputs name a database: kind and day.
func (d Database) String() string {
	switch d.Kind {
	case "":
		return "no database"
	case ArchiveDatabase:
		return "archive advisories of " + DateOf(d.Updated).String() + " (fixes only)"
	}
	return string(d.Kind) + " of " + DateOf(d.Updated).String()
}

// Scan is what a scanner found in an image. The zero value is "not scanned".
type Scan struct {
	Scanner  string    `json:"scanner"` // trivy 0.74.0
	Database Database  `json:"database"`
	At       time.Time `json:"at"`
	Packages int       `json:"packages"` // how many were looked at, of all platforms
	// NotLookedAt are the binary packages that the data knows nothing about, sorted, once each: that a scan found nothing in them says
	// nothing. They do not count in Packages. A name is here as soon as one package of it was not looked at, on any platform.
	NotLookedAt []string  `json:"notLookedAt,omitempty"`
	Findings    []Finding `json:"findings"` // sorted by Compare, one for each Key
}

// Counts returns how many findings there are by severity.
func (s Scan) Counts() map[Severity]int {
	counts := map[Severity]int{}
	for _, f := range s.Findings {
		counts[f.Severity]++
	}
	return counts
}

// MergeFindings joins the findings of several platforms: one for each Key, with all its platforms.
func MergeFindings(all []Finding) []Finding {
	merged := slices.Clone(all)
	slices.SortStableFunc(merged, func(a, b Finding) int { return cmp.Compare(a.Key(), b.Key()) })
	out := merged[:0]
	for _, f := range merged {
		if n := len(out); n > 0 && out[n-1].Key() == f.Key() {
			last := &out[n-1]
			last.Platforms = append(slices.Clone(last.Platforms), f.Platforms...)
			if f.Severity.Compare(last.Severity) > 0 {
				last.Severity, last.SeverityBy = f.Severity, f.SeverityBy
			}
			last.Fixed = cmp.Or(last.Fixed, f.Fixed)
			continue
		}
		out = append(out, f)
	}
	for i := range out {
		slices.SortFunc(out[i].Platforms, func(a, b Platform) int { return cmp.Compare(a.String(), b.String()) })
		out[i].Platforms = slices.Compact(out[i].Platforms)
	}
	slices.SortFunc(out, Finding.Compare)
	return out
}

// Holds reports whether the waiver is in force on day.
func (w Waiver) Holds(day Date) bool { return !w.Until.Time().Before(day.Time()) }

// Covers reports whether the waiver is about f: the vulnerability, and one of the packages or every one when it names none.
// It does not look at the date.
func (w Waiver) Covers(f Finding) bool {
	return w.ID == f.Vulnerability && (len(w.Packages) == 0 || slices.Contains(w.Packages, f.Package) || slices.Contains(w.Packages, f.Source))
}
