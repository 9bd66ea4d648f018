package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	oneImage = 90 * time.Second // from lock to signed and attested tag
	proving  = 20 * time.Second // both levels and views of an image, beside its tests and its scan
	idle     = 5 * time.Second  // a night with nothing to do
)

// night is what `factory nightly --json` prints.
type night struct {
	Jobs []factory.RunJob `json:"jobs"`
}

// nights measures the program itself, as a person would run it.
func (b *workbench) nights(ctx context.Context) ([]row, error) {
	say("first night, of %s alone", subject)
	var first, second night
	if err := b.factory(ctx, b.one, &first, "nightly"); err != nil {
		return nil, err
	}
	made, err := jobOf(first, subject)
	if err != nil {
		return nil, err
	}
	release, err := b.oneImage(ctx, made)
	if err != nil {
		return nil, err
	}
	// The same lock, whatever the archives have by now: the subject is kept, and the other image is made alone.
	if err := copyFile(lockFile(b.one), lockFile(b.both)); err != nil {
		return nil, err
	}
	say("second night, of %s alone", other)
	if err := b.factory(ctx, b.both, &second, "nightly"); err != nil {
		return nil, err
	}
	too, err := jobOf(second, other)
	if err != nil {
		return nil, err
	}
	b.made = []factory.RunJob{made, too}
	nothing, err := b.nothingToDo(ctx)
	return []row{release, provingRow(b.made), nothing}, err
}

// oneImage measures the whole way of the subject, whose first way is known.
func (b *workbench) oneImage(ctx context.Context, first factory.RunJob) (row, error) {
	var locks []factory.LockChange
	lock, err := b.fastest("lock of "+subject, func() error { return b.factory(ctx, b.one, &locks, "lock", subject) })
	if err != nil {
		return row{}, err
	}
	// A refresh takes nothing but the packages from a cache, and fails unless the digest comes out equal.
	var again night
	took, err := b.fastest(subject+" from its lock to its tag", func() error {
		return b.factory(ctx, b.one, &again, "nightly", "--max-age=1ms")
	})
	if err != nil {
		return row{}, err
	}
	made, err := jobOf(again, subject)
	if err != nil {
		return row{}, err
	}
	// A step may take its result from the cache, for the bytes are equal: no step here counts less than it took when it had to run.
	missing := max(0, examination(first)-examination(made))
	all := lock + took + missing
	return row{What: "one image, lock to signed and attested tag", Measured: seconds(all), Target: "≤ " + seconds(oneImage), Met: all <= oneImage,
		Notes: []string{fmt.Sprintf("lock %s, the rest %s: %s; %s more for tests, proof and scan, which took longer in the first night: %s",
			seconds(lock), seconds(took), steps(made.Steps), seconds(missing), steps(examined(first)))}}, nil
}

// examination is how long tests, proof and scan took, which run side by side.
func examination(j factory.RunJob) (longest time.Duration) {
	for _, s := range examined(j) {
		longest = max(longest, lasted(s))
	}
	return longest
}

func examined(j factory.RunJob) []factory.StepTime {
	return slices.DeleteFunc(slices.Clone(j.Steps), func(s factory.StepTime) bool {
		return s.Step != factory.StepTest && s.Step != factory.StepProve && s.Step != factory.StepScan
	})
}

// provingRow judges the image whose proof took longest, of those that were made one at a time and never before.
func provingRow(made []factory.RunJob) row {
	var longest time.Duration
	var notes []string
	for _, j := range made {
		for _, s := range j.Steps {
			if s.Step == factory.StepProve {
				longest = max(longest, lasted(s))
			}
		}
		notes = append(notes, fmt.Sprintf("%s: side by side %s", j.Image, steps(examined(j))))
	}
	return row{What: "prove an image, both levels and views", Measured: seconds(longest), Target: "≤ " + seconds(proving),
		Met: longest > 0 && longest <= proving, Notes: []string{strings.Join(notes, "; ")}}
}

func (b *workbench) nothingToDo(ctx context.Context) (row, error) {
	var kept night
	took, err := b.fastest("night with nothing to do", func() error { return b.factory(ctx, b.both, &kept, "nightly") })
	if err != nil {
		return row{}, err
	}
	var reasons []string
	for _, j := range kept.Jobs {
		if j.Action != factory.Keep && j.Action != factory.Rescan && j.Action != factory.Skip {
			return row{}, fmt.Errorf("%s was not kept: %s", j.Image, j.Reason)
		}
		reasons = append(reasons, fmt.Sprintf("%s, %s: %s", j.Image, j.Action, j.Reason))
	}
	return row{What: "night with nothing to do", Measured: seconds(took), Target: "< " + seconds(idle), Met: took < idle,
		Notes: []string{strings.Join(reasons, "; ")}}, nil
}

// jobOf is what a night that had to make an image did with it.
func jobOf(n night, image string) (factory.RunJob, error) {
	i := slices.IndexFunc(n.Jobs, func(j factory.RunJob) bool { return j.Image == image })
	if i < 0 || n.Jobs[i].Action != factory.Rebuild || n.Jobs[i].Ref == "" {
		return factory.RunJob{}, fmt.Errorf("%s was not made: %+v", image, n.Jobs)
	}
	return n.Jobs[i], nil
}

func lasted(s factory.StepTime) time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }

func lockFile(repository string) string { return repository + "/baseimages/" + subject + "/lock.json" }

func steps(times []factory.StepTime) string {
	var parts []string
	for _, s := range times {
		parts = append(parts, fmt.Sprintf("%s %.1f", s.Step, s.Seconds))
	}
	return strings.Join(parts, ", ")
}
