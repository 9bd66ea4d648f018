package progress

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// jsonView prints each event as one object.
type jsonView struct{}

func (jsonView) event(e factory.Event) []string {
	b, err := json.Marshal(e)
	if err != nil { // NaN seconds, a year beyond 9999
		b, _ = json.Marshal(factory.Event{Kind: factory.Warned, Image: e.Image, Step: e.Step, Message: "an event that cannot be shown: " + err.Error()})
	}
	return []string{string(b)}
}

func (jsonView) live() []string { return nil }

// key is what advances on its own.
type key struct {
	image string
	step  factory.StepName
}

// plainView prints a line for everything but progress, which it prints now and then.
type plainView struct {
	paint paint
	every time.Duration // between two lines of progress of one step
	last  map[key]time.Time
}

func (v *plainView) live() []string { return nil }

func (v *plainView) event(e factory.Event) []string {
	k := key{e.Image, e.Step}
	if v.last == nil {
		v.last = map[key]time.Time{}
	}
	switch e.Kind {
	case factory.Began:
		v.last[k] = e.Time
	case factory.Advanced:
		last, known := v.last[k]
		if !known {
			v.last[k] = e.Time
		}
		if !known || e.Time.Sub(last) < v.every {
			return nil
		}
		v.last[k] = e.Time
	case factory.Finished, factory.Broke:
		delete(v.last, k)
	}
	return []string{v.line(e)}
}

// line is "14:02:11 debian-12 build  done in 7.2 s: message".
func (v *plainView) line(e factory.Event) string {
	var head []string
	if !e.Time.IsZero() {
		head = append(head, v.paint.of(dim, e.Time.Format(time.TimeOnly)))
	}
	for _, s := range []string{e.Image, string(e.Step)} {
		if s = clean(s); s != "" {
			head = append(head, s)
		}
	}
	message := clean(e.Message)
	var what string
	switch e.Kind {
	case factory.Began:
		what = join("started", message)
	case factory.Advanced:
		what = join(amount(e), message)
	case factory.Finished:
		what = join(v.paint.of(green, "done")+took(" in ", e.Seconds), message)
	case factory.Broke:
		what = join(v.paint.of(red, "failed")+took(" after ", e.Seconds), message)
	case factory.Warned:
		what = join(v.paint.of(yellow, "warning"), message)
	default:
		what = message
	}
	return strings.TrimRight(strings.Join(head, " ")+"  "+what, " ")
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + ": " + b
}

// took is " in 7.2 s", or nothing when the time is unknown.
func took(word string, seconds float64) string {
	if !(seconds > 0) {
		return ""
	}
	return word + duration(seconds)
}

// duration is 7.2 s, 12 s or 2 min 05 s.
func duration(seconds float64) string {
	switch {
	case seconds < 9.95:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 59.5:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 1e9:
		whole := int64(seconds + 0.5)
		return fmt.Sprintf("%d min %02d s", whole/60, whole%60)
	}
	return "ages"
}

// amount is "62 of 138 packages", "12.3 of 96.0 MiB", "62 packages" or nothing.
func amount(e factory.Event) string {
	show := func(n int64) string { return fmt.Sprint(n) }
	unit := clean(e.Unit)
	if e.Unit == "bytes" {
		show = func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }
		unit = "MiB"
	}
	switch {
	case e.Total > 0:
		return strings.TrimRight(show(e.Current)+" of "+show(e.Total)+" "+unit, " ")
	case e.Current > 0:
		return strings.TrimRight(show(e.Current)+" "+unit, " ")
	}
	return ""
}
