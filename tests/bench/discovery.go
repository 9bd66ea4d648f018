package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
	"github.com/imagefactory/imagefactory/factory/store"
)

const (
	teams          = 1000 // images in a registry, each in a repository of its own
	basesOfTeams   = 50   // releases that nine of ten of them are built on
	layersOfBase   = 4
	discoveryLimit = 20 * time.Second
)

// discovery measures the command itself, with a registry and a state of its own, made for the occasion.
func (b *workbench) discovery(ctx context.Context) ([]row, error) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	say("making %d images in a registry", teams)
	bases, err := b.releasedBases(ctx)
	if err != nil {
		return nil, err
	}
	if err := publishTeams(ctx, host, bases); err != nil {
		return nil, err
	}
	var told struct{ Images, Looked, Found int }
	took, err := b.fastest(fmt.Sprintf("discovery over %d images", teams), func() error {
		var out bytes.Buffer
		cmd := proc.Command{Args: []string{filepath.Join(b.checkout, "bin", "factory"), "dependents", "discover", host, "--json", "--progress", "plain", "--dir", b.both, "--state", b.discoveryState()}, Dir: b.work, Stdout: &out}
		if _, err := cmd.Run(ctx); err != nil {
			return err
		}
		var all struct {
			Images, Looked int
			Found          []factory.Observed
		}
		if err := json.Unmarshal(out.Bytes(), &all); err != nil {
			return err
		}
		told.Images, told.Looked, told.Found = all.Images, all.Looked, len(all.Found)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if told.Looked != teams || told.Found != teams-teams/10 {
		return nil, fmt.Errorf("discovery looked at %d repositories of %d and found %d images of %d", told.Looked, teams, told.Found, teams-teams/10)
	}
	return []row{{What: fmt.Sprintf("discovery over %d images", teams), Measured: seconds(took), Target: "≤ " + seconds(discoveryLimit), Met: took <= discoveryLimit,
		Notes: []string{fmt.Sprintf("%.0f images a second from a registry on loopback, %d releases known, %d of %d images built on one; recorded", float64(told.Images)/took.Seconds(), basesOfTeams, told.Found, teams)}}}, nil
}

func (b *workbench) discoveryState() string { return filepath.Join(b.work, ".factory-discovery") }

// releasedBases records releases, and returns their images.
func (b *workbench) releasedBases(ctx context.Context) (images []v1.Image, err error) {
	day := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	db, err := store.Open(ctx, filepath.Join(b.discoveryState(), "factory.db"), store.Options{Now: func() time.Time { return day }})
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	for n := range basesOfTeams {
		img, err := random.Image(200, layersOfBase)
		if err != nil {
			return nil, err
		}
		p := factory.PlatformImage{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Digest: factory.DigestOf(fmt.Append(nil, "part ", n))}
		config, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		for _, d := range config.RootFS.DiffIDs {
			p.Layers = append(p.Layers, factory.Layer{Name: "base", Digest: factory.Digest(d.String()), DiffID: factory.Digest(d.String())})
		}
		made := day.AddDate(0, 0, -n)
		r := factory.Release{ID: fmt.Sprintf("bench-%03d", n), Image: subject, Repository: "registry.example.com/base/" + subject, Digest: factory.DigestOf(fmt.Append(nil, "index ", n)),
			Tag: factory.Tag{Date: factory.DateOf(made), Hash: fmt.Sprintf("%08x", n), Env: factory.Prod}, Created: made, Artifact: factory.Artifact{Platforms: []factory.PlatformImage{p}}}
		if _, err := db.AddRelease(ctx, r); err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// publishTeams fills the registry: of ten images nine are built on a base.
func publishTeams(ctx context.Context, host string, bases []v1.Image) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for n := range teams {
		group.Go(func() error {
			img := empty.Image
			if n%10 != 0 {
				img = bases[n%len(bases)]
			}
			layer, err := random.Layer(200, "application/vnd.docker.image.rootfs.diff.tar.gzip")
			if err != nil {
				return err
			}
			if img, err = mutate.AppendLayers(img, layer); err != nil {
				return err
			}
			ref, err := name.NewTag(fmt.Sprintf("%s/team%d/app%d:1.%d", host, n%37, n, n%5))
			if err != nil {
				return err
			}
			return remote.Write(ref, img, remote.WithContext(ctx))
		})
	}
	return group.Wait()
}
