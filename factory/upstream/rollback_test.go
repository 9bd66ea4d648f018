package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// An archive that shows an old state, with its old and good signature, is not believed.
func TestSolveRefusesToGoBack(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	img := small("aa", "bb")
	state := func(date int, aa, bb string) suite {
		return suite{name: "stable", date: day.AddDate(0, 0, date), pkgs: []pkg{{name: "aa", version: aa}, {name: "bb", version: bb}}}
	}
	s := a.solver()
	a.publish(state(5, "1:1.10-1", "2"))
	old, _ := solve(t, s, Request{Image: img})
	for name, c := range map[string]struct {
		now  suite
		says []string // empty = it is believed
	}{
		"onwards":          {state(6, "1:1.10-2", "2"), nil},
		"older package":    {state(6, "1:1.9-1", "2"), []string{"archive debian: package aa went back from 1:1.10-1 to 1:1.9-1", "remove the lock.json of small"}},
		"one of two":       {state(6, "1:1.10-2", "1"), []string{"package bb went back from 2 to 1"}},
		"both":             {state(6, "9", "1"), []string{"package aa went back", "package bb went back"}},
		"older release":    {state(4, "1:1.10-1", "2"), []string{"archive debian stable: its release of 2020-11-24T10:00:00Z", "the lock is of 2020-11-25T10:00:00Z"}},
		"older, all of it": {state(4, "1:1.9-1", "1"), []string{"archive debian stable: its release of"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.publish(c.now)
			_, _, err := s.Solve(t.Context(), Request{Image: img, Old: &old, Definition: old.Definition})
			if len(c.says) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, want := range c.says {
				if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
		})
	}
	a.publish(state(4, "1:1.9-1", "1"))
	if _, _, err := s.Solve(t.Context(), Request{Image: img, Definition: old.Definition}); err != nil {
		t.Errorf("without a lock: %v", err)
	}
	if _, _, err := s.Solve(t.Context(), Request{Image: img, Old: &old, Definition: factory.DigestOf([]byte("other"))}); err != nil {
		t.Errorf("with another definition: %v", err)
	}
}

// An archive that is no longer asked does not measure the ones that are.
func TestDroppedArchiveMeasuresNothing(t *testing.T) {
	t.Parallel()
	a := newArchive(t)
	one := suite{name: "stable", pkgs: []pkg{{name: "aa", version: "1"}}}
	a.publish(one)
	one.name, one.date = "backports", day.AddDate(0, 0, 9)
	a.publish(one)
	img := small("aa")
	img.Archives = append([]factory.Archive{{ID: "debian", Suite: "backports", Components: []string{"main"}}}, img.Archives...)
	old, _ := solve(t, a.solver(), Request{Image: img, Definition: factory.DigestOf([]byte("both"))})
	if !old.Timestamp.Equal(one.date) {
		t.Fatalf("timestamp %v", old.Timestamp)
	}
	img.Archives = img.Archives[1:]
	req := Request{Image: img, Old: &old, Definition: factory.DigestOf([]byte("one"))}
	now, _ := solve(t, a.solver(), req)
	req.Old = &now
	if again, change := solve(t, a.solver(), req); !change.Empty() || !now.Timestamp.Equal(day) || !again.Timestamp.Equal(day) {
		t.Errorf("%v, then %v: %+v", now.Timestamp, again.Timestamp, change)
	}
}
