package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/imagefactory/imagefactory/factory/progress"
)

// sentence is the emergency in one sentence.
func (e *emergency) sentence() string {
	well, ill := e.mended()
	waiting := e.waiting()
	var parts []string
	for _, p := range []struct {
		names []string
		text  string
	}{{well, "fixed and proven"}, {ill, "not fixed"}, {waiting, "without a fix in the archive"}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s (%s)", count(len(p.names), "image"), p.text, strings.Join(p.names, ", ")))
		}
	}
	if ready := e.ready(); e.DryRun && len(ready) > 0 {
		parts = append(parts, fmt.Sprintf("%s can be fixed (%s)", count(len(ready), "image"), strings.Join(ready, ", ")))
	}
	if len(e.told.Affected) == 0 && len(e.proofs) == 0 {
		parts = append(parts, e.nobody())
	}
	if envs := e.elsewhere(); len(envs) > 0 {
		parts = append(parts, fmt.Sprintf("also affected and not asked for: %s (--env %s)", strings.Join(envs, ", "), envs[len(envs)-1]))
	}
	total := 0.0
	for _, p := range e.phases {
		total += p.Seconds
	}
	return fmt.Sprintf("%s: %s; %s; %.1f s", e.ID, strings.Join(parts, ", "), e.told.seen(), total)
}

// nobody says that nothing is affected, as carefully as it is known.
func (e *emergency) nobody() string {
	switch {
	case e.told.Known && e.Package != "":
		return "nothing in force is affected in package " + e.Package
	case e.told.Known:
		return "nothing in force is affected"
	case e.Package == "":
		return "nobody knows it"
	}
	return "no release in force holds a package or source " + e.Package
}

// print writes the answer, the proof, and the verdict as the last line for a person.
func (e *emergency) print() error {
	if progress.Mode(e.cfg.Progress) == progress.JSON {
		e.say("%s", e.sentence())
	} else {
		defer fmt.Fprintln(e.w.Stderr, clean(e.sentence()))
	}
	if e.JSON {
		return e.printJSON(e.document())
	}
	if err := e.printAnswer(); err != nil {
		return err
	}
	for _, p := range e.proofs {
		e.printProof(p)
	}
	fmt.Fprintf(e.out(), "\n%s\n", e.seconds(e.phases))
	return nil
}

func (e *emergency) document() any {
	proofs := e.proofs
	if proofs == nil {
		proofs = []proof{}
	}
	return struct {
		answer
		DryRun  bool    `json:"dryRun"`
		Images  []proof `json:"images"`
		Phases  []phase `json:"phases"`
		Verdict string  `json:"verdict"`
	}{e.told, e.DryRun, proofs, e.phases, e.sentence()}
}

func (e *emergency) printAnswer() error {
	var rows [][]string
	for _, s := range e.told.Affected {
		fix := "no"
		if s.Fix {
			fix = "yes"
		}
		rows = append(rows, []string{s.Image, string(s.Env), s.Package, s.Version, cmp.Or(s.Fixed, "?"), cmp.Or(s.Offered, "-"), fix, s.Why})
	}
	if rows != nil {
		if err := e.table([]string{"IMAGE", "ENV", "PACKAGE", "HAS", "FIXED IN", "ARCHIVE OFFERS", "FIX", "WHY"}, rows); err != nil {
			return err
		}
	} else if len(e.proofs) == 0 {
		fmt.Fprintf(e.out(), "%s: %s; %s\n", e.ID, e.nobody(), e.told.seen())
	}
	for _, u := range e.told.NotLookedAt {
		what := "all of it"
		if len(u.Packages) > 0 {
			what = fmt.Sprintf("%s (%s)", count(len(u.Packages), "package"), shortList(u.Packages, 5))
		}
		fmt.Fprintf(e.out(), "NOT looked at: %s, %s: %s\n", u.Ref, what, clean(u.Why))
	}
	return nil
}

func (e *emergency) printProof(p proof) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(e.out(), "  %-9s %s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(e.out(), "\n%s\n", p.Image)
	for _, c := range p.Packages {
		line("package", "%s %s → %s", c.Package, c.Before, cmp.Or(c.After, "removed"))
	}
	for _, b := range p.Before {
		line("before", "%s %s@%s", b.Env, b.Ref, b.Digest)
	}
	for _, a := range p.After {
		line("after", "%s %s@%s", a.Env, a.Ref, a.Digest)
	}
	if p.Gone {
		line("gone", "%s, says %s", e.ID, p.GoneBy)
	}
	for _, r := range p.Refused {
		for _, why := range r.Reasons {
			line("refused", "by the gate of %s: %s", r.Env, why.Text)
		}
	}
	for _, v := range p.Verified {
		if v.OK {
			line("verified", "%s: %s pass", v.Ref, count(v.Checks, "check"))
		}
		for _, f := range v.Failed {
			line("FAILED", "%s: %s", v.Ref, f)
		}
	}
	if len(p.Steps) > 0 {
		line("steps", "%s", e.seconds(p.Steps))
	}
	if p.Error != "" {
		line("error", "%s", p.Error)
	}
}

// seconds writes phases in one line.
func (e *emergency) seconds(all []phase) string {
	var parts []string
	for _, p := range all {
		parts = append(parts, fmt.Sprintf("%s %.1f s", p.Phase, p.Seconds))
	}
	return strings.Join(parts, ", ")
}
