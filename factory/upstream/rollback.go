package upstream

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// moment is the state of one source of packages, by its own signed date.
type moment struct {
	source string // for people
	date   time.Time
}

func moments(srcs []source, rels []suiteState) (all []moment) {
	for i, src := range srcs {
		all = append(all, moment{src.String(), rels[i].Date})
	}
	return all
}

// forward refuses a lock that is older than the one in force for the same question: archives only ever move on, so somebody
// replays an old state, which is signed as well as the new one.
func forward(req Request, states []moment, lock factory.Lock, compare func(a, b string) int) error {
	old := req.Old
	if old == nil || old.Definition != lock.Definition {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf(format, args...),
			Hint: "a mirror that lags behind does this for a while; to accept it, remove the lock.json of " + lock.Image + " and lock again"}
	}
	newest := slices.MaxFunc(states, func(a, b moment) int { return a.date.Compare(b.date) })
	if newest.date.Before(old.Timestamp) {
		return refuse("archive %s: its release of %s is the newest that there is, and the lock is of %s", newest.source, instant(newest.date), instant(old.Timestamp))
	}
	var errs []error
	seen := map[string]bool{} // the same on several platforms
	for _, lp := range lock.Platforms {
		before := map[string]factory.Package{}
		for _, p := range old.For(lp.Platform) {
			before[p.Name] = p
		}
		for _, p := range lp.Packages {
			was, ok := before[p.Name]
			if key := p.Name + " " + p.Version; ok && !seen[key] && compare(p.Version, was.Version) < 0 {
				seen[key] = true
				errs = append(errs, refuse("archive %s: package %s went back from %s to %s", p.Archive, p.Name, was.Version, p.Version))
			}
		}
	}
	return errors.Join(errs...)
}

func byDate(a, b suiteState) int { return a.Date.Compare(b.Date) }

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
