package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory/proc"
)

const (
	manyRebases = 100
	rebaseLimit = 30 * time.Second
)

// rebases has a test of the driver put a hundred siblings on a new base in the embedded registry. What is measured is everything but the
// looking up of vulnerabilities: images and scanner are small ones.
func (b *workbench) rebases(ctx context.Context) ([]row, error) {
	say("%d rebases", manyRebases)
	best := time.Hour
	for range b.rounds {
		var out bytes.Buffer
		cmd := proc.Command{Args: []string{"go", "test", "./cmd/factory", "-count=1", "-run", "^TestManyRebases$", "-v"}, Dir: b.checkout,
			Set: []string{"GOEXPERIMENT=jsonv2", fmt.Sprintf("FACTORY_BENCH_REBASES=%d", manyRebases)}, Stdout: &out}
		if _, err := cmd.Run(ctx); err != nil {
			return nil, err
		}
		_, text, _ := strings.Cut(out.String(), fmt.Sprintf("REBASES %d in ", manyRebases))
		var took float64
		if _, err := fmt.Sscanf(text, "%f s", &took); err != nil {
			return nil, fmt.Errorf("rebases: %w", err)
		}
		best = min(best, time.Duration(took*float64(time.Second)))
	}
	return []row{{What: fmt.Sprintf("%d rebases, embedded registry", manyRebases), Measured: seconds(best), Target: "≤ " + seconds(rebaseLimit), Met: best <= rebaseLimit,
		Notes: []string{"rules, layers, gate, signatures, verification, tag, record; small images, and a small scanner in the place of Trivy's"}}}, nil
}
