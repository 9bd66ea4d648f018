package gate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/imagefactory/imagefactory/factory"
)

// Due returns what breaches within so many days of the decision, if nothing is done: every reason whose last good day is at
// most that far ahead, the most urgent first. What is late already is among them.
func Due(d factory.Decision, days int) []factory.Reason {
	end := after(factory.DateOf(d.At), min(max(days, 0), maxDays))
	due := slices.DeleteFunc(slices.Clone(d.Reasons), func(r factory.Reason) bool {
		return r.Deadline.IsZero() || r.Deadline.Time().After(end.Time())
	})
	slices.SortStableFunc(due, func(a, b factory.Reason) int { return compareDeadlines(a.Deadline, b.Deadline) })
	return due
}

var daysForm = regexp.MustCompile(`^([0-9]{1,5})([hdw])$`)

// ParseDays reads a length of time as people give it to a command: 7d, 2w, 48h. Hours are rounded up to whole days. It
// is at most ten years; anything else is ErrInvalid.
func ParseDays(s string) (int, error) {
	m := daysForm.FindStringSubmatch(s)
	if m == nil {
		return 0, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.40q is not a number of days", s), Hint: "write it like 7d, 2w or 48h"}
	}
	n, _ := strconv.Atoi(m[1])
	switch m[2] {
	case "w":
		n *= 7
	case "h":
		n = (n + 23) / 24
	}
	if n > 3650 {
		return 0, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s is more than ten years", s), Hint: "write it like 7d, 2w or 48h"}
	}
	return n, nil
}
