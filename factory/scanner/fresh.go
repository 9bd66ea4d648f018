package scanner

import (
	"fmt"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// skew is how far the clocks of two machines may be apart.
const skew = time.Hour

// Fresh reports whether a database may be used at an instant. Its own date counts: one that is older than most allows is
// ErrBlocked; none, and one that lies in the future by more than an hour, is ErrUnverified, for a clock was moved. A most of 0
// allows any age.
func Fresh(db factory.Database, most time.Duration, now time.Time) error {
	p := &factory.Problem{Hint: "factory db update"}
	switch age := now.Sub(db.Updated); {
	case db.Updated.IsZero():
		p.Kind, p.What = factory.ErrUnverified, "the vulnerability database has no date"
	case age < -skew:
		p.Kind, p.What = factory.ErrUnverified, fmt.Sprintf("the vulnerability database is of %s, which is in the future: now is %s", instant(db.Updated), instant(now))
		p.Hint = "set this machine's clock, then: factory db update"
	case most > 0 && age > most:
		p.Kind, p.What = factory.ErrBlocked, fmt.Sprintf("the vulnerability database is of %s, %d hours old; at most %d are allowed", instant(db.Updated), int(age.Hours()), int(most.Hours()))
	default:
		return nil
	}
	return p
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
