package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/plan"
)

// A rebased release is as good as a built one until a refresh is due; then it is built, and no build can have its digest.
func TestRebasedReleases(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]factory.Action{time.Hour: factory.Keep, 2 * week: factory.Rebuild} {
		last := release(age, lock("bash 1"))
		last.Rebased = &factory.Rebase{}
		j := makeJobs(now, week, factory.Dev, nil, []plan.Input{{Image: image("debian-12"), Source: last.Source, Lock: last.Lock, Last: last}})[0]
		if j.Action != want || j.Refresh != "" || want == factory.Rebuild && !strings.Contains(j.Reason, "was rebased") {
			t.Errorf("%s: %+v", age, j)
		}
	}
}
