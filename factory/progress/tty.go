package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	maxLive  = 12 // redrawn lines; more are counted
	barWidth = 20
)

// ttyView keeps a line for each step that is under way below the lines that stay.
type ttyView struct {
	plainView
	width  int
	now    time.Time // the newest event's
	active []*activity
}

type activity struct {
	key
	began time.Time
	last  factory.Event // the newest progress
}

func (v *ttyView) event(e factory.Event) []string {
	if e.Time.After(v.now) {
		v.now = e.Time
	}
	k := key{e.Image, e.Step}
	switch e.Kind {
	case factory.Began, factory.Advanced:
		a := v.find(k)
		if a == nil {
			a = &activity{key: k, began: e.Time}
			v.active = append(v.active, a)
		}
		a.last = e
		return nil
	case factory.Finished, factory.Broke:
		v.active = slices.DeleteFunc(v.active, func(a *activity) bool { return a.key == k })
	}
	return []string{v.line(e)}
}

func (v *ttyView) find(k key) *activity {
	for _, a := range v.active {
		if a.key == k {
			return a
		}
	}
	return nil
}

// live returns a line for each activity in the order they began, none wider than the terminal.
func (v *ttyView) live() []string {
	var lines []string
	images := 0
	for _, a := range v.active {
		images = max(images, len([]rune(clean(a.image))))
	}
	for i, a := range v.active {
		if i == maxLive {
			lines = append(lines, fit(fmt.Sprintf("  and %d more", len(v.active)-maxLive), v.width-1))
			break
		}
		head := fmt.Sprintf("  %-*s %-8s", images, clean(a.image), clean(string(a.step)))
		lines = append(lines, strings.TrimRight(fit(head+" "+a.describe(v.now), v.width-1), " "))
	}
	return lines
}

func (a *activity) describe(now time.Time) string {
	var parts []string
	if a.last.Total > 0 {
		parts = append(parts, bar(a.last.Current, a.last.Total))
	}
	for _, s := range []string{amount(a.last), took("", now.Sub(a.began).Seconds()), clean(a.last.Message)} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "  ")
}

// bar is "[#########-----------]  45 %".
func bar(current, total int64) string {
	share := min(max(float64(current)/float64(total), 0), 1)
	full := int(share * barWidth)
	return fmt.Sprintf("[%s%s] %3d %%", strings.Repeat("#", full), strings.Repeat("-", barWidth-full), int(share*100))
}
