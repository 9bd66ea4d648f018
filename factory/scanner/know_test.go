package scanner

import (
	"errors"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestKnows(t *testing.T) {
	t.Parallel()
	first, other := client(t), second(t)
	g := Group{First: first, Others: []Scanner{other}}
	for _, c := range []struct {
		id           string
		alone, group bool
	}{{"CVE-2026-1", true, true}, {"CVE-2026-7", false, true}, {"CVE-2026-9999", false, false}} {
		if known, err := first.Knows(t.Context(), c.id); err != nil || known != c.alone {
			t.Errorf("%s: %v, %v", c.id, known, err)
		}
		if known, err := g.Knows(t.Context(), c.id); err != nil || known != c.group {
			t.Errorf("%s in any: %v, %v", c.id, known, err)
		}
	}
	if _, err := first.Knows(t.Context(), "!rude"); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a scanner that cannot know: %v", err)
	}
	closed := closing(t, &Client{Program: program(t, "")})
	if _, err := (Group{First: closed}).Knows(t.Context(), "CVE-2026-1"); !errors.Is(err, factory.ErrNotFound) {
		t.Errorf("without data: %v", err)
	}
	// Half an answer is one when it is yes, and an error when it is no.
	half := Group{First: closed, Others: []Scanner{other}}
	if known, err := half.Knows(t.Context(), "CVE-2026-7"); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	if _, err := half.Knows(t.Context(), "CVE-2026-9999"); err == nil {
		t.Error("nobody knows, and not all were asked")
	}
}
