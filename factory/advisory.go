package factory

import "time"

// Advisory says which version of a package fixed a vulnerability in a release of a distribution: of Debian a source package, as
// its changelog says; of an RPM family a binary package, as its repository's updateinfo says.
type Advisory struct {
	Source        string    `json:"source"`        // source package; of RPM the binary package
	Vulnerability string    `json:"vulnerability"` // CVE-2026-1234, GHSA-...; DEBSEC-<source>-<version>, or ID, where none is named
	Fixed         string    `json:"fixed"`         // its version
	Date          time.Time `json:"date"`          // of the changelog entry or advisory that fixed it, UTC
	Title         string    `json:"title,omitempty"`
	// Module is the stream whose package it is, of a modular repository: nodejs:20; RPM only, empty = of no module.
	Module   string   `json:"module,omitempty"`
	ID       string   `json:"id,omitempty"`       // RHSA-2026:1234, ALAS2023-2026-123; empty for changelogs
	Severity Severity `json:"severity,omitempty"` // as the advisory says; empty = it does not
}

// Advisories are what the archives of one distribution release say themselves: in their packages' changelogs, or in updateinfo.
type Advisories struct {
	Distro Distro `json:"distro"`
	// Updated is the Date of the security suite's signed Release file, the oldest where there are several such suites; of the newest
	// suite where there is none. Of RPM repositories, which may rightly stay as they are for ever, it is when they were read; so it is
	// when a release could not be read at all, and all its packages are Missing.
	Updated time.Time `json:"updated"`
	Sources int       `json:"sources"` // how many packages were looked into: as many as are Known
	// Known are the packages (in Advisory.Source's sense) whose changelogs were read, or whose repository has updateinfo, sorted. Of
	// any other nothing is known, which is not the same as that nothing is wrong with it.
	Known []string `json:"known,omitempty"`
	// Missing are the packages whose changelog or updateinfo was looked for and could not be had, sorted.
	Missing []string   `json:"missing,omitempty"`
	List    []Advisory `json:"list"` // sorted by source and vulnerability
}
