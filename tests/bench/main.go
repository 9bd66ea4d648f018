// Command bench measures what the factory promises about speed, in one run on one machine, and prints the table.
//
// It works in a folder of its own and touches neither the checkout nor its state; packages come from the configured
// archives. Ratios compare runs of the same minutes, so they hold on slow machines too; seconds do not. On a busy machine
// neither is worth much, and the table says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
)

// row is one promise.
type row struct {
	What     string
	Measured string
	Against  string // what it is compared with; empty = nothing
	Target   string
	Met      bool
	Notes    []string
}

func main() {
	strict := flag.Bool("strict", false, "exit 1 when a target is missed")
	rounds := flag.Int("rounds", 1, "measure everything so often, and count the fastest: the one that others disturbed least")
	base := flag.String("dir", "/var/tmp", "where the bench makes its folder; a disk, because that is what is compared")
	only := flag.String("only", "", "measure only these, by comma: "+strings.Join(names(), ", "))
	flag.Parse()
	logrus.SetOutput(io.Discard) // libraries below warn there
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	met, err := bench(ctx, *base, max(1, *rounds), *only)
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(2)
	case !met && *strict:
		os.Exit(1)
	}
}

// measurements in their order. The nights come first: they lock anew, so that the packages compared later are the archives' present
// ones; scans look at what they made.
var measurements = []struct {
	name string
	make func(*workbench, context.Context) ([]row, error)
}{
	{"nights", (*workbench).nights}, {"scans", (*workbench).scans}, {"discovery", (*workbench).discovery}, {"triggers", (*workbench).triggers},
	{"rootfs", (*workbench).rootfs}, {"plans", (*workbench).plans}, {"rebases", (*workbench).rebases}, {"emergency", (*workbench).emergency},
}

func names() (all []string) {
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

// bench measures everything, or what only names, and reports whether every target was met.
func bench(ctx context.Context, base string, rounds int, only string) (met bool, err error) {
	wanted := names()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	if slices.Contains(wanted, "scans") && !slices.Contains(wanted, "nights") {
		return false, errors.New("scans look at what nights made: -only nights,scans")
	}
	for _, w := range wanted {
		if !slices.Contains(names(), w) {
			return false, fmt.Errorf("-only %s: there are %s", w, strings.Join(names(), ", "))
		}
	}
	b, err := prepare(ctx, base, rounds)
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(b.work) }()
	before := load()
	var rows []row
	for _, m := range measurements {
		if !slices.Contains(wanted, m.name) {
			continue
		}
		more, err := m.make(b, ctx)
		if err != nil {
			return false, err
		}
		rows = append(rows, more...)
	}
	fmt.Printf("%s, %d cores, %s, load %.1f before and %.1f after\n", b.version, runtime.NumCPU(), runtime.Version(), before, load())
	if before > float64(runtime.NumCPU()) {
		fmt.Println("the machine was busy before this began: measure again when it is quiet")
	}
	fmt.Println()
	return report(os.Stdout, rows), nil
}

// report prints the table and its verdict.
func report(to io.Writer, rows []row) bool {
	missed := 0
	t := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tMEASURED\tAGAINST\tTARGET\tRESULT")
	for _, r := range rows {
		result := "met"
		if !r.Met {
			missed++
			result = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.What, r.Measured, r.Against, r.Target, result)
	}
	_ = t.Flush()
	for _, r := range rows {
		for _, n := range r.Notes {
			fmt.Fprintf(to, "\n%s: %s", r.What, n)
		}
	}
	if missed > 0 {
		fmt.Fprintf(to, "\n\n*** %d of %d targets MISSED ***\n", missed, len(rows))
	} else {
		fmt.Fprintf(to, "\n\nall %d targets met\n", len(rows))
	}
	return missed == 0
}

// load is the machine's load of the last minute: above the number of cores, others worked too and every time is too long.
func load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

// fastest runs f as often as the bench has rounds.
func (b *workbench) fastest(what string, f func() error) (time.Duration, error) {
	var best time.Duration
	for round := range b.rounds {
		say("%s (%d of %d)", what, round+1, b.rounds)
		began := time.Now()
		if err := f(); err != nil {
			return 0, fmt.Errorf("%s: %w", what, err)
		}
		if took := time.Since(began); best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
