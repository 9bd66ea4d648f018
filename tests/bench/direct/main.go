// Command direct compares how long factory-scanner takes for an image with how long the public library of Trivy takes that is
// called as Trivy's own program calls it, and prints both as JSON. The bench runs it.
//
// Both are warm, read the same files, match with the same advisories, and take turns, so that others who use the machine disturb both alike. The
// library makes no SBOM; factory-scanner makes two, and its answers come through its client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aquasecurity/trivy/pkg/db"
	"github.com/aquasecurity/trivy/pkg/fanal/image"
	xos "github.com/aquasecurity/trivy/pkg/x/os"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/scanner"
)

// comparison is what is printed. Both lists are in seconds and equally long.
type comparison struct {
	Packages int       `json:"packages"`
	Findings int       `json:"findings"`
	Factory  []float64 `json:"factory"`
	Library  []float64 `json:"library"`
}

func main() {
	program := flag.String("scanner", "bin/factory-scanner", "the program that is compared")
	layout := flag.String("layout", "", "OCI layout with the image")
	database := flag.String("database", "", "folder of the vulnerability database")
	rounds := flag.Int("rounds", 5, "how often each scans")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c, err := compare(ctx, *program, *layout, *database, *rounds)
	stop()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "direct: "+err.Error())
		os.Exit(1)
	}
}

// compare scans in turns. The first scan of each is not counted.
func compare(ctx context.Context, program, layout, database string, rounds int) (c comparison, err error) {
	ours := &scanner.Client{Program: program}
	defer func() { err = errors.Join(err, ours.Close(), xos.Cleanup()) }()
	if _, err := ours.Open(ctx, database, factory.Database{}); err != nil {
		return c, err
	}
	if err := db.Init(database); err != nil {
		return c, err
	}
	defer func() { _ = db.Close() }()
	artifact, err := artifactIn(layout)
	if err != nil {
		return c, err
	}
	for round := range rounds + 1 {
		began := time.Now()
		scanned, err := ours.Scan(ctx, "bench", artifact)
		if err != nil {
			return c, err
		}
		between := time.Now()
		found, err := library(ctx, layout)
		if err != nil {
			return c, err
		}
		ended := time.Now()
		c.Packages, c.Findings = scanned.Scan.Packages, len(scanned.Scan.Findings)
		if found.packages != c.Packages || found.findings != c.Findings {
			return c, fmt.Errorf("what is compared differs: %d packages with %d findings here, %d with %d there", c.Packages, c.Findings, found.packages, found.findings)
		}
		if round > 0 {
			c.Factory = append(c.Factory, between.Sub(began).Seconds())
			c.Library = append(c.Library, ended.Sub(between).Seconds())
		}
	}
	return c, nil
}

// artifactIn is the first platform of the image in a layout, which is the one that Trivy takes.
func artifactIn(layout string) (factory.Artifact, error) {
	img, err := image.NewArchiveImage(layout)
	if err != nil {
		return factory.Artifact{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return factory.Artifact{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return factory.Artifact{}, err
	}
	p := factory.Platform{OS: config.OS, Architecture: config.Architecture}
	return factory.Artifact{Layout: layout, Platforms: []factory.PlatformImage{{Platform: p, Digest: factory.Digest(digest.String())}}}, nil
}
