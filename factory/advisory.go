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
	// Updated is the newest Date of the archives' Release files that were read.
	Updated time.Time `json:"updated"`
	Sources int       `json:"sources"` // how many source packages were looked into
	// Missing are the source packages whose changelog could not be had, sorted: nothing is known of them.
	Missing []string   `json:"missing,omitempty"`
	List    []Advisory `json:"list"` // sorted by source and vulnerability
}
