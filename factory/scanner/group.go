package scanner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Scanner is what a Group is made of: a Client.
type Scanner interface {
	Scan(ctx context.Context, name string, a factory.Artifact) (factory.Scanned, error)
	Match(ctx context.Context, sboms []factory.Document) (factory.Scan, error)
}

// Group is several scanners that look at the same. The first one's SBOMs, database and count of packages are the group's; the findings
// of all are merged, one for each Key with the worst severity, and Finding.Data says who found it. Scan.Scanner names
// those that answered.
//
// A package counts as looked at when any of them looked at it: NotLookedAt is what none did, and Packages is one more for each name
// that the first did not look at and another did. So every scanner of a group must be honest about what its data does not know.
//
// Another scanner that fails is a warning and the night goes on: what it alone knows is missing then, and looks fixed until it
// answers again. Where that is worse than no scan, set Required.
type Group struct {
	First    Scanner
	Others   []Scanner
	Required bool // the failure of any is the failure of all
	Events   factory.Events
}

// Scan scans with all.
func (g Group) Scan(ctx context.Context, name string, a factory.Artifact) (factory.Scanned, error) {
	var documents []factory.Document
	scan, err := g.all(ctx, "scan "+name, func(ctx context.Context, i int, s Scanner) (factory.Scan, error) {
		scanned, err := s.Scan(ctx, name, a)
		if i == 0 {
			documents = scanned.Documents
		}
		return scanned.Scan, err
	})
	if err != nil {
		return factory.Scanned{}, err
	}
	return factory.Scanned{Scan: scan, Documents: documents}, nil
}

// Match matches with all.
func (g Group) Match(ctx context.Context, sboms []factory.Document) (factory.Scan, error) {
	return g.all(ctx, "match SBOMs", func(ctx context.Context, _ int, s Scanner) (factory.Scan, error) { return s.Match(ctx, sboms) })
}

// all asks every scanner at the same time.
func (g Group) all(ctx context.Context, what string, ask func(context.Context, int, Scanner) (factory.Scan, error)) (factory.Scan, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		scan factory.Scan
		err  error
	}
	answers := make([]chan answer, 1+len(g.Others))
	for i, s := range append([]Scanner{g.First}, g.Others...) {
		answers[i] = make(chan answer, 1)
		go func() {
			scan, err := ask(ctx, i, s)
			answers[i] <- answer{scan, err}
		}()
	}
	first := <-answers[0]
	if first.err != nil {
		return factory.Scan{}, first.err
	}
	scans := []factory.Scan{first.scan}
	for i, c := range answers[1:] {
		a := <-c
		switch {
		case a.err == nil:
			scans = append(scans, a.scan)
		case g.Required || errors.Is(a.err, context.Canceled):
			return factory.Scan{}, fmt.Errorf("scanner %d of %d: %w", i+2, len(answers), a.err)
		default:
			g.Events.Emit(factory.Event{Kind: factory.Warned, Step: factory.StepScan, Message: fmt.Sprintf("%s: scanner %d of %d does not count: %s", what, i+2, len(answers), a.err)})
		}
	}
	if len(g.Others) == 0 {
		return first.scan, nil
	}
	return merge(scans), nil
}

// merge joins scans of the same image. The first scan decides where only one can.
func merge(scans []factory.Scan) factory.Scan {
	joined := scans[0]
	joined.Findings = nil
	joined.NotLookedAt = slices.DeleteFunc(slices.Clone(joined.NotLookedAt), func(name string) bool {
		return slices.ContainsFunc(scans[1:], func(s factory.Scan) bool { return !slices.Contains(s.NotLookedAt, name) })
	})
	joined.Packages += len(scans[0].NotLookedAt) - len(joined.NotLookedAt)
	var names []string
	said := map[string][]string{}
	for _, s := range scans {
		names = append(names, s.Scanner)
		joined.Findings = append(joined.Findings, s.Findings...)
		for _, f := range s.Findings {
			who := s.Scanner
			if f.Data != "" {
				who = f.Data + " (" + s.Scanner + ")"
			}
			said[f.Key()] = append(said[f.Key()], who)
		}
	}
	joined.Scanner = strings.Join(names, ", ")
	joined.Findings = slices.Clip(factory.MergeFindings(joined.Findings))
	for i, f := range joined.Findings {
		joined.Findings[i].Data = strings.Join(slices.Compact(said[f.Key()]), "; ")
	}
	return joined
}
