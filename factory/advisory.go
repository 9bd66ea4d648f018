package factory

import "time"

// Advisory says which version of a source package fixed a vulnerability in a release of a distribution.
type Advisory struct {
	Source        string    `json:"source"`        // source package
	Vulnerability string    `json:"vulnerability"` // CVE-2026-1234, GHSA-...; DEBSEC-<source>-<version> where an upload names none
	Fixed         string    `json:"fixed"`         // source version
	Date          time.Time `json:"date"`          // of the changelog entry that fixed it, UTC
	Title         string    `json:"title,omitempty"`
}

// Advisories are what the changelogs of one distribution release's packages say.
type Advisories struct {
	Distro Distro `json:"distro"`
	// Updated is the Date of the security suite's signed Release file, the oldest where there are several such suites; of the newest
	// suite where there is none.
	Updated time.Time `json:"updated"`
	Sources int       `json:"sources"` // how many source packages were looked into: as many as are Known
	// Known are the source packages whose changelogs were read, sorted. Of any other nothing is known, which is not the same as that
	// nothing is wrong with it.
	Known []string `json:"known,omitempty"`
	// Missing are the source packages whose changelog was looked for and could not be had, sorted.
	Missing []string   `json:"missing,omitempty"`
	List    []Advisory `json:"list"` // sorted by source and vulnerability
}
