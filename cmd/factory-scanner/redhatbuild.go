package main

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/aquasecurity/trivy-db/pkg/db"
	bolt "go.etcd.io/bbolt"
)

// product is the index of the release among Red Hat's products: the release itself.
func (p part) product() (int, error) { return strconv.Atoi(p.release) }

// products writes down which content sets are of which of Red Hat's releases.
func (c contents) products() (transactions []func(*bolt.Tx) error) {
	put := func(f func(*bolt.Tx) error) { transactions = append(transactions, f) }
	for _, title := range slices.Sorted(maps.Keys(c.parts)) {
		p := c.parts[title]
		if p.bucket != redHat {
			continue
		}
		put(func(tx *bolt.Tx) error {
			index, err := p.product()
			for _, set := range allContentSets(p.release) {
				err = errors.Join(err, db.Config{}.PutRedHatRepositories(tx, set, []int{index}))
			}
			return err
		})
		put(func(tx *bolt.Tx) error {
			index, err := p.product()
			return errors.Join(err, db.Config{}.PutRedHatCPEs(tx, index, "cpe:/o:redhat:enterprise_linux:"+p.release))
		})
	}
	return transactions
}

// key is what the advisory is found by, of those of its package: for Red Hat its own id, as one advisory is about many
// vulnerabilities there.
func (r row) key() string {
	if r.bucket == redHat {
		return cmp.Or(r.ID, r.Vulnerability)
	}
	return r.Vulnerability
}

// byKey sorts the rows of one package by key, and then by what they say is fixed.
func byKey(list []row) []row {
	return slices.SortedFunc(slices.Values(list), func(a, b row) int {
		return cmp.Or(cmp.Compare(a.key(), b.key()), cmp.Compare(a.title, b.title), cmp.Compare(a.Fixed, b.Fixed), cmp.Compare(a.Vulnerability, b.Vulnerability))
	})
}

// sameKey and sameFix report whether rows of one package are of one advisory, and of one entry of it.
func sameKey(a, b row) bool { return a.key() == b.key() }
func sameFix(a, b row) bool { return a.title == b.title && a.Fixed == b.Fixed }

// putRedHat writes the advisories of one package of Red Hat's.
func putRedHat(tx *bolt.Tx, list []row) error {
	var errs []error
	for same := range chunks(byKey(list), sameKey) {
		var a struct{ Entries []entry }
		for fixes := range chunks(same, sameFix) {
			index, err := fixes[0].product()
			e := entry{FixedVersion: fixes[0].Fixed, Products: []int{index}, fixedOn: fixedOn{fixes[0].Date.UTC()}}
			for _, r := range fixes {
				e.Cves = append(e.Cves, entryCVE{ID: r.Vulnerability, Severity: severities[r.Severity]})
			}
			a.Entries, errs = append(a.Entries, e), append(errs, err)
		}
		errs = append(errs, db.Config{}.PutAdvisory(tx, []string{redHat, same[0].name}, same[0].key(), a))
	}
	return errors.Join(errs...)
}

// count is how many advisories the database has, as Check counts them.
func (c contents) count() (n int) {
	for list := range chunks(c.rows, row.beside) {
		for range chunks(byKey(list), sameKey) {
			n++
		}
	}
	return n
}
