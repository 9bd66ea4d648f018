package upstream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"slices"
)

const changelogLimit = 32 << 20 // unpacked bytes that are looked at

var (
	changelogHead = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]* \(([^ ()]+)\) [^;]*;`)
	cveID         = regexp.MustCompile(`\bCVE-[0-9]{4}-[0-9]{4,19}\b`)
)

// changelogCVEs returns the CVE ids that a compressed Debian changelog names in its entries newer than old, sorted, once
// each. A changelog that ends early counts as far as it goes: the newest entries come first.
func changelogCVEs(compressed []byte, old string) []string {
	zr, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil
	}
	var ids []string
	sc := bufio.NewScanner(io.LimitReader(zr, changelogLimit))
	sc.Buffer(nil, 1<<20)
	newer := false
	for sc.Scan() {
		if m := changelogHead.FindStringSubmatch(sc.Text()); m != nil {
			if newer = compareVersions(m[1], old) > 0; !newer {
				break
			}
		}
		if newer {
			ids = append(ids, cveID.FindAllString(sc.Text(), -1)...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
