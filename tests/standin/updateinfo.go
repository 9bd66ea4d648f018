package standin

import (
	"cmp"
	"encoding/xml"
	"slices"
	"time"
)

// advisory is what an update says of itself.
type advisory struct {
	kind, id, severity, title string
	cves                      []string
	date                      time.Time
	packages                  []*published
}

// notice is an advisory to be. The numbers are like real ones; what they say here is made up.
type notice struct {
	source   string // the package that was fixed
	old      bool   // it was, before the archive began
	kind     string // security, bugfix
	id       map[Release]string
	severity map[Release]string
	cves     []string
}

var notices = []notice{
	{
		source: "zlib", old: true, kind: "security", cves: []string{"CVE-2022-37434"},
		id:       map[Release]string{RHEL9: "RHSA-2025:20001", AmazonLinux2: "ALAS2-2025-3001", AmazonLinux2023: "ALAS2023-2025-1201"},
		severity: map[Release]string{RHEL9: "Moderate", AmazonLinux2: "medium", AmazonLinux2023: "medium"},
	},
	{
		source: "tzdata", old: true, kind: "bugfix",
		id: map[Release]string{RHEL9: "RHBA-2025:20002"}, severity: map[Release]string{RHEL9: "None"},
	},
	{
		source: "openssl", kind: "security", cves: []string{"CVE-2025-9230", "CVE-2025-9231"},
		id:       map[Release]string{RHEL9: "RHSA-2025:21001", AmazonLinux2: "ALAS2-2025-3101", AmazonLinux2023: "ALAS2023-2025-1301"},
		severity: map[Release]string{RHEL9: "Important", AmazonLinux2: "important", AmazonLinux2023: "important"},
	},
	{
		source: "libxml2", kind: "security", cves: []string{"CVE-2025-49796"},
		id:       map[Release]string{RHEL9: "RHSA-2025:21002", AmazonLinux2: "ALAS2-2025-3102", AmazonLinux2023: "ALAS2023-2025-1302"},
		severity: map[Release]string{RHEL9: "Moderate", AmazonLinux2: "medium", AmazonLinux2023: "medium"},
	},
}

// notify adds the advisories of packages that are fresh in a repository.
func (a *Archive) notify(repo *repository, old bool, fresh []*published) {
	repo.advisories = slices.Clone(repo.advisories)
	for _, n := range notices {
		id := n.id[a.Release]
		v := advisory{kind: n.kind, id: id, severity: n.severity[a.Release], cves: n.cves, date: a.now, title: id + ": " + n.source + " " + n.kind + " update (stand-in)"}
		if old {
			v.date = a.now.AddDate(0, -1, 0)
		}
		for _, p := range fresh {
			if n.old == old && id != "" && cmp.Or(p.Source, p.Name) == n.source {
				v.packages = append(v.packages, p)
			}
		}
		if len(v.packages) > 0 {
			repo.advisories = append(repo.advisories, v)
		}
	}
}

type xmlUpdates struct {
	XMLName xml.Name    `xml:"updates"`
	Updates []xmlUpdate `xml:"update"`
}

type xmlUpdate struct {
	From        string         `xml:"from,attr"`
	Status      string         `xml:"status,attr"`
	Type        string         `xml:"type,attr"`
	Version     string         `xml:"version,attr"`
	ID          string         `xml:"id"`
	Title       string         `xml:"title"`
	Issued      xmlDate        `xml:"issued"`
	Updated     xmlDate        `xml:"updated"`
	Severity    string         `xml:"severity"`
	Summary     string         `xml:"summary"`
	Description string         `xml:"description"`
	References  []xmlReference `xml:"references>reference"`
	Collection  xmlCollection  `xml:"pkglist>collection"`
}

type xmlDate struct {
	Date string `xml:"date,attr"`
}

type xmlReference struct {
	Href  string `xml:"href,attr"`
	ID    string `xml:"id,attr"`
	Title string `xml:"title,attr"`
	Type  string `xml:"type,attr"`
}

type xmlCollection struct {
	Short    string       `xml:"short,attr"`
	Name     string       `xml:"name"`
	Packages []xmlPackage `xml:"package"`
}

type xmlPackage struct {
	Name    string `xml:"name,attr"`
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"version,attr"`
	Release string `xml:"release,attr"`
	Arch    string `xml:"arch,attr"`
	Src     string `xml:"src,attr"`
	File    string `xml:"filename"`
}

// updateinfo is the repository's updateinfo.xml. Where nothing was fixed yet it says so: without the file nobody would know.
func (a *Archive) updateinfo(repo *repository) ([]byte, error) {
	doc := xmlUpdates{}
	for _, v := range repo.advisories {
		u := xmlUpdate{
			From: "security@standin.invalid", Status: "final", Type: v.kind, Version: "1.4", ID: v.id, Title: v.title, Severity: v.severity,
			Issued: xmlDate{v.date.Format("2006-01-02 15:04:05")}, Updated: xmlDate{v.date.Format("2006-01-02 15:04:05")},
			Summary: "A stand-in.", Description: "This advisory belongs to a stand-in archive and says nothing of the real one.",
			Collection: xmlCollection{Short: repo.name, Name: string(a.Release)},
		}
		u.References = append(u.References, xmlReference{Href: "https://standin.invalid/errata/" + v.id, ID: v.id, Title: v.id, Type: "self"})
		for _, cve := range v.cves {
			u.References = append(u.References, xmlReference{Href: "https://standin.invalid/cve/" + cve, ID: cve, Title: cve, Type: "cve"})
		}
		for _, p := range v.packages {
			u.Collection.Packages = append(u.Collection.Packages, xmlPackage{Name: p.Name, Epoch: cmp.Or(p.epoch, "0"), Version: p.version, Release: p.release, Arch: p.arch, Src: p.source, File: p.file()})
		}
		doc.Updates = append(doc.Updates, u)
	}
	b, err := xml.MarshalIndent(doc, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}
