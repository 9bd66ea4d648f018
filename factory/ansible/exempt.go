package ansible

import (
	"fmt"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// exemption is one that the definition states, and whether it is over.
type exemption struct {
	factory.Exemption
	over bool
}

// exemptionsOn sorts out which ones still hold on a day, their last day included. One without an end is over, because an end is mandatory.
func exemptionsOn(img factory.Image, day factory.Date) map[string]exemption {
	out := map[string]exemption{}
	for _, e := range img.Hardening.Exempt {
		out[e.Control] = exemption{Exemption: e, over: e.Until.IsZero() || day.Time().After(e.Until.Time())}
	}
	return out
}

// exemptions are those of today, in UTC. Those that are over are announced.
func (h Hardener) exemptions(img factory.Image) map[string]exemption {
	if len(img.Hardening.Exempt) == 0 {
		return map[string]exemption{}
	}
	out := exemptionsOn(img, factory.DateOf(h.Now()))
	for _, e := range img.Hardening.Exempt {
		if out[e.Control].over {
			h.Events.Emit(factory.Event{Kind: factory.Warned, Image: img.Name, Step: factory.StepHarden,
				Message: fmt.Sprintf("%s: %s, the control is in force again", e.Control, ended(e))})
		}
	}
	return out
}

// ended says that an exemption is over, and since when.
func ended(e factory.Exemption) string {
	if e.Until.IsZero() {
		return "its exemption has no end and does not count"
	}
	return "its exemption ended on " + e.Until.String()
}

// leftAlone returns the controls that the play passes over: those that are exempt, and those that can have no effect.
func leftAlone(exempt map[string]exemption, absent map[string]string) []string {
	ids := active(exempt)
	for id := range absent {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// active returns the controls whose exemption holds, sorted; never nil, because the play expects a list.
func active(all map[string]exemption) []string {
	ids := []string{}
	for id, e := range all {
		if !e.over {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}
