package openscap

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// Benchmark returns what the content for a distribution knows: every rule that CIS level 2 selects, sorted, with title, severity
// and CIS ids, and without a result. A distribution that no content exists for is ErrNotFound.
func (p Prover) Benchmark(ctx context.Context, d factory.Distro) ([]factory.RuleOutcome, error) {
	c, err := contentFor(d)
	if err != nil {
		return nil, fmt.Errorf("benchmark: %w", err)
	}
	if c.file == "" {
		return nil, fmt.Errorf("benchmark: %w", unknown(d))
	}
	data, err := p.shipped(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("benchmark: %w", err)
	}
	s := scan{known: map[string]factory.RuleOutcome{}, selected: map[string]map[string]bool{}}
	if err := s.read(data); err != nil {
		return nil, fmt.Errorf("benchmark %s: %w", c.file, err)
	}
	rules := slices.SortedFunc(maps.Values(s.known), byRule)
	rules = slices.DeleteFunc(rules, func(r factory.RuleOutcome) bool { return !s.selected[c.profiles[1]][r.Rule] })
	if len(rules) == 0 {
		return nil, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("%s has no profile %s", c.file, c.profiles[1])}
	}
	return rules, nil
}
