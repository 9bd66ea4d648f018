package main

import (
	"encoding/json/v2"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
)

// redHat is the bucket of all of Red Hat's releases. Its entries say by index which products (CPEs) they are about; what products a
// repository (content set) is of is in the bucket redHatCPEs.
const redHat = "Red Hat"

// contentSets are the repositories that the packages of a release come from, unless the image says others. Those of other machines
// than x86_64 are of the same products.
func contentSets(release string) []string {
	if release == "6" || release == "7" {
		return []string{"rhel-" + release + "-server-rpms", "rhel-" + release + "-server-extras-rpms"}
	}
	return contentSetsOf("rhel", release, "x86_64")
}

func contentSetsOf(product, release, machine string) []string {
	prefix := fmt.Sprintf("%s-%s-for-%s-", product, release, machine)
	return []string{prefix + "baseos-rpms", prefix + "appstream-rpms"}
}

// allContentSets are those that an image of the release may name, and the usual ones.
func allContentSets(release string) []string {
	all := contentSets(release)
	for _, product := range []string{"rhel", "ubi"} {
		for _, machine := range []string{"x86_64", "aarch64", "ppc64le", "s390x"} {
			all = append(all, contentSetsOf(product, release, machine)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// generic is the end of a content set's name as Red Hat's own builds write it. No repository is called so.
var generic = regexp.MustCompile(`__\d+$`)

// repositoriesOf returns the content sets of a package, and the name and version of the image that brought it if that is Red Hat's own.
func repositoriesOf(release string, p ftypes.Package) (sets, images []string) {
	if p.BuildInfo == nil {
		return contentSets(release), nil
	}
	for _, s := range p.BuildInfo.ContentSets {
		sets = append(sets, generic.ReplaceAllString(s, ""))
	}
	if p.BuildInfo.Nvr != "" {
		images = []string{p.BuildInfo.Nvr + "-" + p.BuildInfo.Arch}
	}
	return sets, images
}

// entry is what an advisory says of some products, in Trivy's form.
type entry struct {
	FixedVersion string `json:",omitempty"`
	Cves         []entryCVE
	Arches       []string `json:",omitempty"` // none = all
	Status       int      `json:",omitempty"` // dbtypes.Status
	Products     []int    `json:"Affected,omitempty"`
	fixedOn               // which Trivy does not know
}

// entryCVE is one vulnerability. Where the advisory is of one only, that is its key and has no ID here.
type entryCVE struct {
	ID       string           `json:",omitempty"`
	Severity dbtypes.Severity `json:",omitempty"`
}

// redHatDriver finds advisories of Red Hat's.
type redHatDriver struct {
	products map[string][]int // by content sets, as far as asked for
}

// advisories returns the advisories of a package for its architecture. ErrUnavailable when the database does not know where it comes
// from.
func (d redHatDriver) advisories(release string, p ftypes.Package) (all []dbtypes.Advisory, err error) {
	products, err := d.productsOf(release, p)
	if err != nil {
		return nil, err
	}
	values, err := db.Config{}.ForEachAdvisory([]string{redHat}, streamed(stream(p.Modularitylabel), p.Name))
	if err != nil {
		return nil, err
	}
	for id, v := range values {
		var a struct{ Entries []entry }
		if err := json.Unmarshal(v.Content, &a); err != nil {
			return nil, err
		}
		for _, e := range a.Entries {
			if e.about(products, p.Arch) {
				all = append(all, e.advisories(id, &v.Source)...)
			}
		}
	}
	return all, nil
}

func (e entry) about(products []int, machine string) bool {
	return (len(e.Arches) == 0 || machine == "noarch" || slices.Contains(e.Arches, machine)) &&
		slices.ContainsFunc(e.Products, func(p int) bool { return slices.Contains(products, p) })
}

// advisories returns one for each vulnerability.
func (e entry) advisories(id string, source *dbtypes.DataSource) (all []dbtypes.Advisory) {
	for _, c := range e.Cves {
		a := dbtypes.Advisory{VulnerabilityID: id, FixedVersion: e.FixedVersion, Severity: c.Severity, Status: dbtypes.Status(e.Status), DataSource: source}
		if !strings.HasPrefix(id, "CVE-") {
			a.VulnerabilityID, a.VendorIDs = c.ID, []string{id}
		}
		if !e.Date.IsZero() {
			a.Custom = e.fixedOn
		}
		all = append(all, a)
	}
	return all
}

// productsOf returns what the repositories of a package are of.
func (d redHatDriver) productsOf(release string, p ftypes.Package) (products []int, err error) {
	sets, images := repositoriesOf(release, p)
	from := strings.Join(append(slices.Clone(sets), images...), ", ")
	if known, ok := d.products[from]; ok {
		return known, nil
	}
	for _, s := range sets {
		of, err := db.Config{}.RedHatRepoToCPEs(s)
		if err != nil {
			return nil, err
		}
		products = append(products, of...)
	}
	for _, i := range images {
		of, err := db.Config{}.RedHatNVRToCPEs(i)
		if err != nil {
			return nil, err
		}
		products = append(products, of...)
	}
	if len(products) == 0 {
		return nil, unknownDistro(fmt.Sprintf("redhat %s from %.200s", release, from))
	}
	d.products[from] = products
	return products, nil
}

// stream is the part of a modularity label that advisories go by: nodejs:20 of nodejs:20:9030020231122:rhel9.
func stream(label string) string {
	parts := strings.Split(label, ":")
	if len(parts) < 3 {
		return ""
	}
	return parts[0] + ":" + parts[1]
}

// streamed is the name that the advisories of a module's package are under: nodejs:20::npm.
func streamed(stream, name string) string {
	if stream == "" {
		return name
	}
	return stream + "::" + name
}
