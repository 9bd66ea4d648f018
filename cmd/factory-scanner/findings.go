package main

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"

	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/types"
)

// findings translates what Trivy found; sorted, each once.
func findings(results types.Results) []factory.Finding {
	found := []factory.Finding{}
	for _, r := range results {
		sources := make(map[string]string, len(r.Packages))
		for _, p := range r.Packages {
			sources[p.ID] = p.SrcName
		}
		for _, v := range r.Vulnerabilities {
			found = append(found, finding(v, sources[v.PkgID]))
		}
	}
	slices.SortFunc(found, func(a, b factory.Finding) int {
		return cmp.Or(a.Compare(b), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Purl, b.Purl), cmp.Compare(a.Fixed, b.Fixed))
	})
	return slices.CompactFunc(found, func(a, b factory.Finding) bool { return reflect.DeepEqual(a, b) })
}

func finding(v types.DetectedVulnerability, source string) factory.Finding {
	//lint:ignore SA1019 Trivy fills it with the severity that it chose of the vendors', which is what is wanted
	severity, err := factory.ParseSeverity(v.Severity)
	if err != nil {
		severity = factory.Unknown
	}
	f := factory.Finding{
		Vulnerability: v.VulnerabilityID, Package: v.PkgName, Version: v.InstalledVersion, Fixed: v.FixedVersion,
		Status: v.Status.String(), Severity: severity, SeverityBy: string(v.SeveritySource),
		Title: v.Title, URL: v.PrimaryURL, References: v.References, Purl: purlOf(v.PkgIdentifier),
		FixedOn: fixDate(v.Custom), Advisory: strings.Join(v.VendorIDs, ", "),
	}
	if source != v.PkgName {
		f.Source = source
	}
	if v.DataSource != nil {
		f.Data = v.DataSource.Name
	}
	if v.PublishedDate != nil {
		f.Published = v.PublishedDate.UTC()
	}
	return f
}

func purlOf(id ftypes.PkgIdentifier) string {
	if id.PURL == nil {
		return ""
	}
	return id.PURL.String()
}

// fixDate reads what Build has written into the advisory. Other databases say nothing of the kind.
func fixDate(custom any) time.Time {
	if custom == nil {
		return time.Time{}
	}
	var f fixedOn
	if b, err := json.Marshal(custom); err != nil || json.Unmarshal(b, &f) != nil {
		return time.Time{}
	}
	return f.Date.UTC()
}
