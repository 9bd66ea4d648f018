package cosign

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// report is cosign's vulnerability report. What is ours alone is in the database's further fields and in the result.
type report struct {
	Invocation invocation `json:"invocation"`
	Scanner    scanner    `json:"scanner"`
	Metadata   scanTimes  `json:"metadata"`
}

type invocation struct {
	Parameters map[string]string `json:"parameters"`
	URI        string            `json:"uri"`
	EventID    string            `json:"event_id"`
	Builder    string            `json:"builder.id"`
}

type scanner struct {
	URI     string     `json:"uri"`
	Version string     `json:"version"`
	DB      scannerDB  `json:"db"`
	Result  scanResult `json:"result"`
}

// scannerDB names the data, not where this factory had it from: that is the host of a mirror, or a folder.
type scannerDB struct {
	URI         string               `json:"uri"`
	Version     string               `json:"version"` // the digest of its file
	LastUpdate  time.Time            `json:"lastUpdate"`
	Kind        factory.DatabaseKind `json:"kind"`
	Schema      int                  `json:"schema,omitempty"`
	Digest      factory.Digest       `json:"digest"`
	Advisories  int                  `json:"advisories,omitempty"`
	Description string               `json:"description"` // in words: what it knows and what it does not
}

type scanResult struct {
	Packages    int                      `json:"packages"`
	NotLookedAt []string                 `json:"notLookedAt,omitempty"`
	Summary     map[factory.Severity]int `json:"summary"`
	Findings    []factory.Finding        `json:"findings"`
}

type scanTimes struct {
	ScanStartedOn  time.Time `json:"scanStartedOn"`
	ScanFinishedOn time.Time `json:"scanFinishedOn"`
}

// reportOf is the statement with what a scan found in an image. What was never scanned is ErrInvalid.
func (s *Signer) reportOf(about []resource, scan factory.Scan) (draft, error) {
	name, version, _ := strings.Cut(scan.Scanner, " ")
	if name == "" || scan.Database.Kind == "" || scan.At.IsZero() {
		return draft{}, &factory.Problem{Kind: factory.ErrInvalid, What: "nothing to attest: the image was not scanned", Hint: "an image is signed with all its evidence or not at all"}
	}
	db := scan.Database
	summary := scan.Counts()
	for _, severity := range factory.Severities() {
		summary[severity] += 0 // a zero says more than nothing
	}
	findings := scan.Findings
	if findings == nil {
		findings = []factory.Finding{}
	}
	return draftOf(VulnerabilityType, about, report{
		Invocation: invocation{Parameters: map[string]string{}, EventID: s.Run, Builder: s.Builder},
		Scanner: scanner{
			URI: "pkg:generic/" + name + "@" + version, Version: version,
			DB: scannerDB{
				URI: "urn:imagefactory:vulnerability-database:" + string(db.Kind), Version: string(db.Digest), LastUpdate: seconds(db.Updated),
				Kind: db.Kind, Schema: db.Schema, Digest: db.Digest, Advisories: db.Advisories, Description: db.String(),
			},
			Result: scanResult{Packages: scan.Packages, NotLookedAt: scan.NotLookedAt, Summary: summary, Findings: findings},
		},
		Metadata: scanTimes{ScanStartedOn: seconds(scan.At), ScanFinishedOn: seconds(scan.At)},
	})
}

// report checks the newest vulnerability report and how old it and its data are.
func (v *verification) report() {
	const name = "vulnerability report"
	st, why := newest(v, VulnerabilityType, rescan, func(r report) time.Time { return r.Metadata.ScanFinishedOn })
	if st == nil {
		v.add(name, false, "%s", why)
		return
	}
	s, at := st.Predicate.Scanner, st.Predicate.Metadata.ScanFinishedOn
	db := factory.Database{Kind: s.DB.Kind, Updated: s.DB.LastUpdate, Digest: s.DB.Digest}
	looked := fmt.Sprintf("%d packages", s.Result.Packages)
	if n := len(s.Result.NotLookedAt); n > 0 {
		looked += fmt.Sprintf(" (and %d NOT looked at)", n)
	}
	said := fmt.Sprintf("%s of %s, by %s with %s, scanned %s", counted(s.Result.Findings), looked,
		strings.TrimPrefix(s.URI, "pkg:generic/"), db, minute(at))
	for _, then := range []struct {
		what string
		time time.Time
	}{{"it was made", at}, {"its data was made", s.DB.LastUpdate}} {
		if late := v.late(then.time); late != "" {
			v.add(name, false, "%s %s: %s; scan it again: factory rescan", then.what, late, said)
			return
		}
	}
	v.add(name, true, "%s", said)
}

// skew is how far the clocks of two machines may be apart.
const skew = 10 * time.Minute

// late says what is wrong with the age of what was made then, empty when nothing is or nobody asked.
func (v *verification) late(then time.Time) string {
	if v.options.MaxAge <= 0 {
		return ""
	}
	switch age := v.options.Now().Sub(then); {
	case age < -skew:
		return fmt.Sprintf("in the future, %s, so somebody's clock is wrong", minute(then))
	case age > v.options.MaxAge:
		return fmt.Sprintf("%s ago, at most %s are allowed", minutes(age), minutes(v.options.MaxAge))
	}
	return ""
}

// counted is "no findings", or how many there are of each severity.
func counted(findings []factory.Finding) string {
	var words []string
	counts := factory.Scan{Findings: findings}.Counts()
	for _, severity := range factory.Severities() {
		if n := counts[severity]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, severity))
		}
	}
	if words == nil {
		return "no findings"
	}
	return strings.Join(words, ", ")
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func minutes(d time.Duration) string {
	return cmp.Or(strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s"), "no time")
}
