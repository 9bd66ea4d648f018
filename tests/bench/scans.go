package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
	"github.com/imagefactory/imagefactory/factory/registry"
	"github.com/imagefactory/imagefactory/factory/scanner"
)

const (
	scanRatio = 1.5 // of the library's time
	rematch   = 10 * time.Millisecond
	many      = 1000
	allOfThem = 15 * time.Second
)

// scans measures the scanner with what the nights made: their images, their SBOMs, their vulnerability data.
func (b *workbench) scans(ctx context.Context) ([]row, error) {
	dbs := scanner.Databases{Dir: filepath.Join(b.state, "vulnerabilities", string(factory.ArchiveDatabase))}
	_, data, err := dbs.Current(ctx)
	if err != nil {
		return nil, err
	}
	fresh, err := b.freshScans(ctx, data)
	if err != nil {
		return nil, err
	}
	stored, err := b.storedScans(ctx, data)
	return append(fresh, stored...), err
}

// freshScans compares scans of the images with those of Trivy's library, each image in one run.
func (b *workbench) freshScans(ctx context.Context, data string) ([]row, error) {
	server := &registry.Server{Dir: filepath.Join(b.state, "registry"), Addr: b.address}
	running, err := server.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = running.Close() }()
	client := &registry.Client{Transport: running.Transport(nil)}
	var rows []row
	for _, j := range b.made {
		layout := filepath.Join(b.work, "image-"+j.Image)
		repository, _, _ := strings.Cut(j.Ref, "/"+j.Image+":")
		if err := client.Fetch(ctx, repository+"/"+j.Image, j.Digest, layout); err != nil {
			return nil, err
		}
		r, err := b.freshScan(ctx, j.Image, layout, data)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// freshScan lets the two take turns, and compares the fastest of each.
func (b *workbench) freshScan(ctx context.Context, image, layout, data string) (row, error) {
	say("scans of %s, by factory-scanner and by the library", image)
	var out bytes.Buffer
	cmd := proc.Command{Args: []string{b.direct, "-scanner", b.scanner(), "-layout", layout, "-database", data, "-rounds", fmt.Sprint(5 * b.rounds)}, Dir: b.work, Stdout: &out}
	if _, err := cmd.Run(ctx); err != nil {
		return row{}, err
	}
	var c struct {
		Packages, Findings int
		Factory, Library   []float64
	}
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		return row{}, fmt.Errorf("scans of %s: %w", image, err)
	}
	ours, theirs := slices.Min(c.Factory), slices.Min(c.Library)
	return row{What: "scan of a fresh " + image + ", Trivy's library", Measured: fmt.Sprintf("%.2f s", ours), Against: fmt.Sprintf("%.2f s", theirs),
		Target: fmt.Sprintf("%.2f ≤ %.2f", ours/theirs, scanRatio), Met: ours <= scanRatio*theirs,
		Notes: []string{fmt.Sprintf("%d packages and %d findings in both, the fastest of %d each; with both SBOMs here, without any there", c.Packages, c.Findings, len(c.Factory))}}, nil
}

// storedScans matches the SBOMs of the images again and again, in a scanner that is warm.
func (b *workbench) storedScans(ctx context.Context, data string) (rows []row, err error) {
	client := &scanner.Client{Program: b.scanner(), Temp: b.work}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := client.Open(ctx, data, factory.Database{}); err != nil {
		return nil, err
	}
	sboms, err := b.sboms(ctx)
	if err != nil {
		return nil, err
	}
	const few = 100
	match := func(ctx context.Context, n, width int) error {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(width)
		for _, d := range sboms[:n] {
			group.Go(func() error {
				scan, err := client.Match(ctx, []factory.Document{d})
				if err == nil && scan.Packages == 0 {
					err = errors.New("an SBOM without packages")
				}
				return err
			})
		}
		return group.Wait()
	}
	if err := match(ctx, few, 1); err != nil { // now it is warm
		return nil, err
	}
	one := time.Hour
	for range 3 { // a second each: any other process shows
		took, err := b.fastest("match of stored SBOMs, one at a time", func() error { return match(ctx, few, 1) })
		if err != nil {
			return nil, err
		}
		one = min(one, took)
	}
	cores := runtime.NumCPU()
	all, err := b.fastest(fmt.Sprintf("match of %d SBOMs", many), func() error { return match(ctx, many, cores) })
	each := one / few
	return []row{
		{What: "match of a stored SBOM, warm", Measured: fmt.Sprintf("%.1f ms", each.Seconds()*1000), Target: "≤ 10 ms", Met: each <= rematch,
			Notes: []string{fmt.Sprintf("the mean of %d, one after the other, of %s in turn; the fastest of %d such means", few, b.names(), 3*b.rounds)}},
		{What: fmt.Sprintf("match of %d SBOMs", many), Measured: seconds(all), Target: "≤ " + seconds(allOfThem), Met: all <= allOfThem,
			Notes: []string{fmt.Sprintf("%d at a time, as many as there are cores", cores)}},
	}, err
}

var serial = regexp.MustCompile(`"serialNumber": *"urn:uuid:[0-9a-f-]{24}`)

// sboms are the stored SBOMs of the images in turn, each with a serial number of its own.
func (b *workbench) sboms(ctx context.Context) ([]factory.Document, error) {
	var stored [][]byte
	for _, j := range b.made {
		var out json.RawMessage
		if err := b.factory(ctx, b.both, &out, "sbom", j.Release); err != nil {
			return nil, err
		}
		if !serial.Match(out) {
			return nil, fmt.Errorf("the SBOM of %s has no serial number", j.Image)
		}
		stored = append(stored, out)
	}
	var all []factory.Document
	for i := range many {
		sbom := stored[i%len(stored)]
		at := serial.FindIndex(sbom)[1]
		data := slices.Concat(sbom[:at], fmt.Appendf(nil, "%012x", i), sbom[at+12:])
		all = append(all, factory.NewDocument(factory.CycloneDX, fmt.Sprint(i), factory.Platform{}, scanner.CycloneDXType, data))
	}
	return all, nil
}

func (b *workbench) names() string {
	var names []string
	for _, j := range b.made {
		names = append(names, j.Image)
	}
	return strings.Join(names, " and ")
}

func (b *workbench) scanner() string { return filepath.Join(b.checkout, "bin", "factory-scanner") }

// buildDirect links the program that has Trivy's library in it.
func (b *workbench) buildDirect(ctx context.Context) error {
	say("linking Trivy's library")
	b.direct = filepath.Join(b.work, "direct")
	_, err := proc.Command{Args: []string{"go", "build", "-ldflags=-s -w", "-o", b.direct, "./tests/bench/direct"}, Dir: b.checkout,
		Set: []string{"GOEXPERIMENT=jsonv2"}, Stderr: os.Stderr}.Run(ctx)
	return err
}
