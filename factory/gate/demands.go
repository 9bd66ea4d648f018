package gate

import (
	"fmt"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// checkTests wants acceptance tests on each platform of the image, and all of them green.
func (c *decider) checkTests() {
	demanded := c.policy.Tests
	for _, p := range c.platforms() {
		where := ""
		if len(c.evidence.Image.Platforms) > 1 {
			where = " on " + p.String()
		}
		var passed int
		var failed []string
		for _, t := range c.evidence.Tests {
			switch {
			case !on(p, t.Platform):
			case t.Passed:
				passed++
			default:
				failed = append(failed, t.Name)
			}
		}
		slices.Sort(failed)
		r := factory.Reason{Rule: ruleTests, Subject: p.String(), Text: fmt.Sprintf("%s passed%s", count(passed, "acceptance test"), where)}
		switch {
		case len(failed) > 0:
			r.Blocks = demanded
			r.Text = fmt.Sprintf("%d of %s failed%s: %s", len(failed), count(passed+len(failed), "acceptance test"), where, some(failed))
			r.Hint = "see what was expected: factory build " + c.evidence.Image.Name
		case passed == 0:
			r.Blocks = demanded
			r.Text = "no acceptance test ran" + where
			r.Hint = "write some in baseimages/" + c.evidence.Image.Name + "/tests.yaml and build again"
		}
		c.add(r)
	}
}

func (c *decider) checkSource() {
	s := c.evidence.Source
	r := factory.Reason{Rule: ruleSource, Subject: s.Hash}
	switch {
	case s.Dirty:
		r.Text = "the inputs are not committed, so nobody can look up what the image was made of"
	case s.Commit == "":
		r.Text = "nobody knows which commit the inputs are of"
	default:
		r.Text = "the inputs are those of commit " + s.Commit[:min(len(s.Commit), 12)]
		c.add(r)
		return
	}
	r.Blocks = c.policy.Committed
	r.Hint = "commit baseimages/" + c.evidence.Image.Name + " and what it uses, and build again"
	c.add(r)
}

// drift is how far clocks may be apart before a date in the future is a sign that one of them moved.
const drift = 24 * time.Hour

// checkDatabase wants to know that findings were looked for in every package, in data of a kind and an age that the policy takes.
// The age is counted from the data's own date.
func (c *decider) checkDatabase() {
	scan, demand := c.evidence.Scan, c.policy.Database
	block := func(hint, format string, args ...any) {
		c.add(factory.Reason{Rule: ruleDatabase, Subject: string(scan.Database.Kind), Blocks: true, Text: fmt.Sprintf(format, args...), Hint: hint})
	}
	const update, again = "factory db update, then factory rescan", "factory rescan"
	switch {
	case scan.Database.Kind == "":
		block(again, "the image was not scanned: no vulnerability data was used")
		return
	case scan.Packages == 0:
		block(again, "the scanner looked at no package, so that it found nothing proves nothing")
	case scan.At.Sub(c.evidence.At) > drift:
		block("check the clocks of this machine and of the scanner", "the scan is dated %s, in the future: a clock moved", factory.DateOf(scan.At))
	}
	if unknown := slices.Compact(slices.Sorted(slices.Values(scan.NotLookedAt))); len(unknown) > 0 {
		block("factory db build; where the archives say nothing themselves (a repository without updateinfo), factory db update; then factory rescan",
			"the vulnerability data knows nothing about %s, so that nothing was found there proves nothing: %s", count(len(unknown), "package"), some(unknown))
	}
	if !slices.Contains(demand.Kinds, scan.Database.Kind) {
		block(update, "the vulnerability data is %s; %s takes %s only", scan.Database, c.policy.Env, kinds(demand.Kinds))
	}
	age := c.evidence.At.Sub(scan.Database.Updated)
	switch {
	case scan.Database.Updated.IsZero():
		block(update, "the vulnerability data has no date, so it may be of any age")
	case age < -drift:
		block("check this machine's clock, then factory db update", "the vulnerability data is %s, in the future: a clock moved", scan.Database)
	case age > demand.Limit(scan.Database.Kind):
		block(update, "the vulnerability data is %s, %s old; at most %s is allowed", scan.Database, length(age), length(demand.Limit(scan.Database.Kind)))
	default:
		c.add(factory.Reason{Rule: ruleDatabase, Subject: string(scan.Database.Kind), Text: fmt.Sprintf("%s looked at, by %s, %s old", count(scan.Packages, "package"), scan.Database, length(max(age, 0)))})
	}
}

func kinds(all []factory.DatabaseKind) string {
	var names []string
	for _, k := range all {
		names = append(names, string(k))
	}
	return name(some(names), "nothing")
}

// length is a time in whole hours, or in days when it is long.
func length(d time.Duration) string {
	if d < 72*time.Hour {
		return count(int(d.Hours()), "hour")
	}
	return count(int(d.Hours()/24), "day")
}

func (c *decider) checkEndOfLife() {
	end := c.evidence.Image.EndOfLife
	r := factory.Reason{Rule: ruleEndOfLife}
	switch late := between(end, c.day); {
	case end.IsZero():
		r.Text = "nobody says when the distribution's support ends"
		r.Hint = "say so: endOfLife in baseimages/" + c.evidence.Image.Name + "/image.yaml"
		r.Blocks = c.policy.EndOfLife == "block"
	case late > 0:
		r.Text = fmt.Sprintf("support of the distribution ended on %s, %s ago: nobody fixes it any more", end, count(late, "day"))
		r.Hint = "move to a later release; endOfLife stands in baseimages/" + c.evidence.Image.Name + "/image.yaml"
		r.Blocks = c.policy.EndOfLife == "block"
	default:
		r.Text = fmt.Sprintf("the distribution is supported until %s, %s from now", end, count(-late, "day"))
	}
	if c.policy.EndOfLife == "block" {
		r.Deadline = end
	}
	c.add(r)
}
