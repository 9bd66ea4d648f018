package oci

import (
	"maps"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/imagefactory/imagefactory/factory"
)

// Annotations that the factory adds to manifest and index, and as labels to the configuration. Each is a function of
// lock and definition alone.
const (
	AnnotationLock      = "io.imagefactory.lock"        // digest of the lock
	AnnotationHardening = "io.imagefactory.hardening"   // "cis_debian level 1 container"
	AnnotationEndOfLife = "io.imagefactory.end-of-life" // 2028-06-30
	AnnotationLayer     = "io.imagefactory.layer"       // on a layer: its name
)

// Recipe is the version of how this package makes bytes out of content: rules, cuts, compression, annotations. Whoever
// changes what a root becomes raises it, so that locks move with it. TestRecipe holds it to that.
const Recipe = 2

const ociPrefix = "org.opencontainers.image."

// Annotations that say what a child is built on: its parent's release as repository:tag, and the digest of that index.
const (
	AnnotationBaseName   = ociPrefix + "base.name"
	AnnotationBaseDigest = ociPrefix + "base.digest"
)

// annotations says what an image is, whoever builds it and whenever.
func annotations(h factory.Hardened) (map[string]string, error) {
	lock, err := h.Lock.Encode()
	if err != nil {
		return nil, err
	}
	image := h.Job.Image
	all := map[string]string{
		ociPrefix + "title":       image.Name,
		ociPrefix + "description": image.Summary,
		ociPrefix + "created":     h.Lock.Timestamp.UTC().Format("2006-01-02T15:04:05Z"),
		AnnotationLock:            string(factory.DigestOf(lock)),
		AnnotationHardening:       hardening(image.Hardening),
		AnnotationEndOfLife:       image.EndOfLife.String(),
	}
	if base := h.Job.Parent; base != nil {
		all[AnnotationBaseName] = base.Repository + ":" + base.Tag.String()
		all[AnnotationBaseDigest] = string(base.Digest)
	}
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	return all, nil
}

func hardening(h factory.Hardening) string {
	if h.Profile == "" {
		return ""
	}
	text := h.Profile
	if h.Level > 0 {
		text += " level " + strconv.Itoa(h.Level)
	}
	return strings.TrimSpace(text + " " + h.Scope)
}

// configFile is what a runtime reads: the definition's configuration, and where the layers come from. A label of the
// definition wins over the standard ones, but not over the factory's own.
func configFile(h factory.Hardened, p factory.Platform, layers []layerBlob, notes map[string]string) (*v1.ConfigFile, error) {
	c, created := h.Config(p), v1.Time{Time: h.Lock.Timestamp.UTC()}
	labels := maps.Clone(notes)
	for k, v := range c.Labels {
		if _, taken := notes[k]; !taken || strings.HasPrefix(k, ociPrefix) && k != AnnotationBaseName && k != AnnotationBaseDigest {
			labels[k] = v
		}
	}
	file := &v1.ConfigFile{
		Architecture: p.Architecture,
		OS:           p.OS,
		Created:      created,
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: c.User, Env: c.Env, WorkingDir: c.Workdir, Entrypoint: c.Entrypoint, Cmd: c.Cmd,
			StopSignal: c.StopSignal, Labels: labels, ExposedPorts: set(c.Ports), Volumes: set(c.Volumes), Shell: c.Shell,
		},
	}
	if k := c.Healthcheck; k != nil {
		file.Config.Healthcheck = &v1.HealthConfig{Test: k.Test, Interval: k.Interval, Timeout: k.Timeout, StartPeriod: k.StartPeriod, Retries: k.Retries}
	}
	for _, l := range layers {
		id, err := v1.NewHash(string(l.DiffID))
		if err != nil {
			return nil, err
		}
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, id)
		if l.past != nil {
			file.History = append(file.History, *l.past)
			continue
		}
		file.History = append(file.History, v1.History{Created: created, CreatedBy: l.history})
	}
	return file, nil
}

// set is how a configuration file writes a list without an order; nil when it is empty.
func set(names []string) (all map[string]struct{}) {
	for _, name := range names {
		if all == nil {
			all = map[string]struct{}{}
		}
		all[name] = struct{}{}
	}
	return all
}
