package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/graph"
	"github.com/imagefactory/imagefactory/factory/pipeline"
	"github.com/imagefactory/imagefactory/factory/progress"
)

// out is stdout, once the progress lines are out of its way. After that no progress is shown.
func (c *command) out() io.Writer {
	_ = c.renderer.Close()
	c.shown.Store(true)
	return c.w.Stdout
}

// printJSON writes one document to stdout.
func (c *command) printJSON(v any) error {
	enc := json.NewEncoder(c.out())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows under a header, aligned. Cells come from definitions and registries: control characters are shown, not obeyed.
func (c *command) table(header []string, rows [][]string) error { return c.painted(header, rows, nil) }

// painted is table with the last cell of each row in a style, where stdout shows colours. No styles means none.
func (c *command) painted(header []string, rows [][]string, styles []string) error {
	_, plain := c.w.Env("NO_COLOR")
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for n, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			row[i] = clean(cell)
			if c.w.Colors && !plain && n > 0 && n <= len(styles) && i == len(row)-1 {
				row[i] = "\x1b[" + styles[n-1] + "m" + row[i] + "\x1b[0m"
			}
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(c.out(), strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// Styles of a terminal.
const dim, red, green, yellow = "2", "31", "32", "33"

var tones = map[graph.Tone]string{graph.Bad: red, graph.Warn: yellow, graph.Good: green, graph.Neutral: dim}

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '·'
		}
		return r
	}, s)
}

// say writes a sentence for a person to stderr, once progress is out of the way.
func (c *command) say(format string, args ...any) {
	c.events.Emit(factory.Event{Kind: factory.Noted, Message: fmt.Sprintf(format, args...)})
}

func (c *command) printPlan(jobs []factory.Job) error {
	if c.JSON {
		type row struct {
			Image  string         `json:"image"`
			Action factory.Action `json:"action"`
			Reason string         `json:"reason"`
			Wave   int            `json:"wave"`
			Hash   string         `json:"hash,omitempty"`
			Dirty  bool           `json:"dirty,omitempty"`
		}
		rows := []row{}
		for _, j := range jobs {
			rows = append(rows, row{j.Image.Name, j.Action, j.Reason, j.Wave, j.Source.Hash, j.Source.Dirty})
		}
		return c.printJSON(rows)
	}
	var rows [][]string
	for _, j := range jobs {
		hash := j.Source.Hash
		if j.Source.Dirty {
			hash += " (dirty)"
		}
		rows = append(rows, []string{j.Image.Name, string(j.Action), hash, j.Reason})
	}
	return c.table([]string{"IMAGE", "ACTION", "INPUTS", "REASON"}, rows)
}

// printNight shows what a night did: the references on stdout, the verdict as the last line for a person.
func (c *command) printNight(run string, out pipeline.Outcome, verdict string) error {
	if progress.Mode(c.cfg.Progress) == progress.JSON {
		c.say("%s", verdict)
	} else {
		defer fmt.Fprintln(c.w.Stderr, verdict)
	}
	var told *tally
	if c.post != nil {
		told = c.post.told
	}
	if c.JSON {
		document := map[string]any{"run": run, "state": out.State(), "verdict": verdict, "jobs": out.Jobs}
		if told != nil {
			document["triggers"] = told
		}
		return c.printJSON(document)
	}
	defer c.tellOf(told)
	var rows [][]string
	for _, j := range out.Jobs {
		switch {
		case j.Error != "":
			rows = append(rows, []string{j.Image, "failed", "", "", cmp.Or(stepTimes(j.Steps), firstLine(j.Error))})
		case j.Ref != "":
			rows = append(rows, []string{j.Image, "released", j.Ref, string(j.Digest), stepTimes(j.Steps)})
		case j.Action == factory.Skip:
			rows = append(rows, []string{j.Image, "skipped", "", "", j.Reason})
		case j.Action == factory.Hold:
			rows = append(rows, []string{j.Image, "held back", "", "", j.Reason})
		case j.Action == factory.Yield:
			rows = append(rows, []string{j.Image, "left", "", "", j.Reason})
		default:
			rows = append(rows, []string{j.Image, "kept", "", "", j.Reason})
		}
	}
	return c.table([]string{"IMAGE", "RESULT", "REFERENCE", "DIGEST", "WHERE TIME WENT / WHY"}, rows)
}

func stepTimes(steps []factory.StepTime) string {
	var parts []string
	for _, s := range steps {
		if s.Seconds >= 0.05 {
			parts = append(parts, fmt.Sprintf("%s %.1f s", s.Step, s.Seconds))
		}
	}
	return strings.Join(parts, ", ")
}

// ago is the time since t, in the unit that a person would choose.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d d ago", int(d.Hours()/24))
	}
}

// count is "1 image" or "2 images".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
