package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	oneImage = 60 * time.Second // from lock to signed tag
	idle     = 5 * time.Second  // a night with nothing to do
)

// night is what `factory nightly --json` prints.
type night struct {
	Jobs []factory.RunJob `json:"jobs"`
}

// nights measures the program itself, as a person would run it.
func (b *workbench) nights(ctx context.Context) ([]row, error) {
	say("first night: makes what the measured ones find there")
	var first, kept, one night
	if err := b.factory(ctx, b.both, &first, "nightly"); err != nil {
		return nil, err
	}
	nothing, err := b.fastest("night with nothing to do", func() error { return b.factory(ctx, b.both, &kept, "nightly") })
	if err != nil {
		return nil, err
	}
	for _, j := range kept.Jobs {
		if j.Action != factory.Keep {
			return nil, fmt.Errorf("%s was not kept: %s", j.Image, j.Reason)
		}
	}
	// The locks of the first night, whatever they were copied as.
	if err := copyFile(lockFile(b.both), lockFile(b.one)); err != nil {
		return nil, err
	}
	var locks []factory.LockChange
	lock, err := b.fastest("lock of "+subject, func() error { return b.factory(ctx, b.one, &locks, "lock", subject) })
	if err != nil {
		return nil, err
	}
	// A refresh takes nothing but the packages from a cache, and fails unless the digest comes out equal.
	made, err := b.fastest(subject+" from its lock to its tag", func() error {
		return b.factory(ctx, b.one, &one, "nightly", "--max-age=1ms")
	})
	if err != nil {
		return nil, err
	}
	if len(one.Jobs) != 1 || one.Jobs[0].Action != factory.Rebuild || one.Jobs[0].Ref == "" {
		return nil, errors.New("the refresh rebuilt nothing")
	}
	// Equal bytes have their acceptance tests in the cache: count what they took when they ran.
	tests := testsOf(first)
	made += tests
	var reasons []string
	for _, j := range kept.Jobs {
		reasons = append(reasons, j.Image+": "+j.Reason)
	}
	return []row{
		{What: "one image, lock to signed tag", Measured: seconds(lock + made), Target: "≤ " + seconds(oneImage), Met: lock+made <= oneImage,
			Notes: []string{fmt.Sprintf("lock %s, the rest %s: %s; tests as in the first night, %s", seconds(lock), seconds(made), steps(one.Jobs[0].Steps), seconds(tests))}},
		{What: "night with nothing to do", Measured: seconds(nothing), Target: "< " + seconds(idle), Met: nothing < idle,
			Notes: []string{strings.Join(reasons, "; ")}},
	}, nil
}

// testsOf is how long the subject's acceptance tests took.
func testsOf(n night) time.Duration {
	for _, j := range n.Jobs {
		for _, s := range j.Steps {
			if j.Image == subject && s.Step == factory.StepTest {
				return time.Duration(s.Seconds * float64(time.Second))
			}
		}
	}
	return 0
}

func lockFile(repository string) string { return repository + "/baseimages/" + subject + "/lock.json" }

func steps(times []factory.StepTime) string {
	var parts []string
	for _, s := range times {
		parts = append(parts, fmt.Sprintf("%s %.1f", s.Step, s.Seconds))
	}
	return strings.Join(parts, ", ")
}
