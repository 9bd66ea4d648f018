package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// runs says, line by line, how a container of an image runs when nobody says otherwise.
func runs(c *factory.Config) (lines []string) {
	if c == nil {
		return nil
	}
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("runs %s as %s in %s", cmp.Or(argv(slices.Concat(c.Entrypoint, c.Cmd)), "nothing of itself"), cmp.Or(c.User, "root"), cmp.Or(c.Workdir, "/"))
	for _, e := range c.Env {
		say("env %s", e)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		say("label %s=%s", k, c.Labels[k])
	}
	for _, l := range []struct {
		name string
		list []string
	}{{"exposes", c.Ports}, {"volumes", c.Volumes}} {
		if len(l.list) > 0 {
			say("%s %s", l.name, strings.Join(l.list, ", "))
		}
	}
	if c.StopSignal != "" {
		say("stopped by %s", c.StopSignal)
	}
	if len(c.Shell) > 0 {
		say("shell %s", argv(c.Shell))
	}
	if h := c.Healthcheck; h != nil {
		text := "health check " + argv(h.Test)
		for _, d := range []struct {
			name string
			time time.Duration
		}{{"every", h.Interval}, {"within", h.Timeout}, {"from", h.StartPeriod}} {
			if d.time > 0 {
				text += ", " + d.name + " " + d.time.String()
			}
		}
		if h.Retries > 0 {
			text += ", " + counted(h.Retries, "try", "tries")
		}
		say("%s", text)
	}
	return lines
}

// argv shows a command's words so that they can be told apart.
func argv(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n\"'\\") {
			quoted[i] = fmt.Sprintf("%q", w)
		}
	}
	return strings.Join(quoted, " ")
}
