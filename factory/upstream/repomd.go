package upstream

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// clockDrift is how far the clocks of an archive and of this machine may be apart.
const clockDrift = 24 * time.Hour

// repomdState is a repository's repomd.xml as dnf read it.
type repomdState struct {
	Date   time.Time
	Digest factory.Digest
}

// repomds reads the repomd.xml of every repository.
func repomds(output map[string][]byte, repos []yum, now time.Time) ([]repomdState, error) {
	all := make([]repomdState, len(repos))
	for i, y := range repos {
		b, ok := output["repomd/"+fileOf(repos, i)]
		if !ok {
			return nil, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("archive %s has no %s", y, repomdFile)}
		}
		date, err := parseRepomd(b)
		if err != nil {
			return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "archive " + y.String(), Cause: err}
		}
		if date.After(now.Add(clockDrift)) { // or every later state would look like an old one
			return nil, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("archive %s: %s is of %s, which is in the future", y, repomdFile, instant(date)),
				Hint: "look at this machine's clock; if it is right, tell whoever runs the archive"}
		}
		all[i] = repomdState{date, factory.DigestOf(b)}
	}
	return all, nil
}

// fileOf is the name that solve_dnf.py gives to files of the i-th repository: its platform, and its number there.
func fileOf(repos []yum, i int) string {
	n := 0
	for j := range i {
		if repos[j].platform == repos[i].platform {
			n++
		}
	}
	return fmt.Sprintf("%s.%d", repos[i].platform.Architecture, n)
}

// parseRepomd returns when the metadata was made: the revision where that is a time, as usual, or else the newest time of its files.
func parseRepomd(b []byte) (time.Time, error) {
	var doc struct {
		XMLName  xml.Name `xml:"repomd"`
		Revision string   `xml:"revision"`
		Data     []struct {
			Timestamp string `xml:"timestamp"`
		} `xml:"data"`
	}
	if err := xml.NewDecoder(bytes.NewReader(b)).Decode(&doc); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", repomdFile, err)
	}
	at := seconds(doc.Revision)
	for _, d := range doc.Data {
		if t := seconds(d.Timestamp); seconds(doc.Revision).IsZero() && t.After(at) {
			at = t
		}
	}
	if at.IsZero() {
		return time.Time{}, fmt.Errorf("%s: neither its revision %.40q nor its files tell when it was made", repomdFile, doc.Revision)
	}
	return at, nil
}

// seconds reads a time in seconds since 1970, zero when it is not one between 2001 and 2286.
func seconds(text string) time.Time {
	whole, _, _ := strings.Cut(strings.TrimSpace(text), ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 1e9 || n >= 1e10 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func yumMoments(repos []yum, states []repomdState) (all []moment) {
	for i, y := range repos {
		all = append(all, moment{y.String(), states[i].Date})
	}
	return all
}
