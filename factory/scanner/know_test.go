package scanner

import (
	"errors"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestKnows(t *testing.T) {
	t.Parallel()
	first, other := client(t), second(t)
	for _, c := range []struct {
		id           string
		first, other bool
	}{{"CVE-2026-1", true, true}, {"CVE-2026-7", false, true}, {"CVE-2026-9999", false, false}} {
		if known, err := first.Knows(t.Context(), c.id); err != nil || known != c.first {
			t.Errorf("%s: %v, %v", c.id, known, err)
		}
		if known, err := other.Knows(t.Context(), c.id); err != nil || known != c.other {
			t.Errorf("%s in the other: %v, %v", c.id, known, err)
		}
	}
	if _, err := first.Knows(t.Context(), "!rude"); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a scanner that cannot know: %v", err)
	}
	closed := closing(t, &Client{Program: program(t, "")})
	if _, err := closed.Knows(t.Context(), "CVE-2026-1"); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("without data: %v", err)
	}
}
