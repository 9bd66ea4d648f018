package cosign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// BuildType says how to read the parameters of this factory's provenance.
const BuildType = "https://github.com/imagefactory/imagefactory/build-types/image/v1"

// provenance is the predicate of SLSA provenance v1.
type provenance struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

// tag is the release that the provenance is about.
func (p provenance) tag() factory.Tag { return p.BuildDefinition.ExternalParameters.Tag }

func (p provenance) finished() time.Time { return p.RunDetails.Metadata.FinishedOn }

type buildDefinition struct {
	BuildType            string             `json:"buildType"`
	ExternalParameters   externalParameters `json:"externalParameters"`
	InternalParameters   internalParameters `json:"internalParameters"`
	ResolvedDependencies []resource         `json:"resolvedDependencies"`
}

// externalParameters is what a person decided.
type externalParameters struct {
	Image     string             `json:"image"`
	Env       factory.Env        `json:"env"`
	Platforms []factory.Platform `json:"platforms"`
	Tag       factory.Tag        `json:"tag"`
}

// internalParameters is what the factory decided.
type internalParameters struct {
	Definition factory.Digest `json:"definition"` // what was asked of the solver
	Timestamp  time.Time      `json:"timestamp"`  // of everything the build made itself
	Reason     string         `json:"reason,omitempty"`
	Dirty      bool           `json:"dirty,omitempty"`
	Supersedes string         `json:"supersedes,omitempty"`
}

type runDetails struct {
	Builder    builder     `json:"builder"`
	Metadata   runMetadata `json:"metadata"`
	Byproducts []resource  `json:"byproducts,omitempty"`
}

type builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type runMetadata struct {
	InvocationID string    `json:"invocationId,omitempty"`
	StartedOn    time.Time `json:"startedOn"`
	FinishedOn   time.Time `json:"finishedOn"`
}

// provenanceOf says where a comes from. Its subjects are the index and every platform's manifest.
func (s *Signer) provenanceOf(about []resource, a factory.Approved) (draft, error) {
	job, finished := a.Job, a.At
	if s.Now != nil {
		finished = s.Now()
	}
	dependencies, err := dependencies(a.Tested)
	if err != nil {
		return draft{}, err
	}
	byproducts, err := byproducts(a)
	if err != nil {
		return draft{}, err
	}
	return draftOf(ProvenanceType, about, provenance{
		BuildDefinition: buildDefinition{
			BuildType: BuildType,
			ExternalParameters: externalParameters{
				Image: job.Image.Name, Env: job.Env, Platforms: job.Image.Platforms, Tag: tagOf(a),
			},
			InternalParameters: internalParameters{
				Definition: a.Lock.Definition, Timestamp: a.Lock.Timestamp.UTC(), Reason: job.Reason,
				Dirty: job.Source.Dirty, Supersedes: job.Supersedes,
			},
			ResolvedDependencies: dependencies,
		},
		RunDetails: runDetails{
			Builder:    s.builder(),
			Metadata:   runMetadata{InvocationID: s.Run, StartedOn: seconds(a.At), FinishedOn: seconds(finished)},
			Byproducts: byproducts,
		},
	})
}

// tagOf is the tag that a gets when it is published.
func tagOf(a factory.Approved) factory.Tag {
	return factory.Tag{Date: factory.DateOf(a.At), Hash: a.Job.Hash(), Env: a.Job.Env}
}

func (s *Signer) builder() builder {
	b := builder{ID: s.Builder}
	if s.Version != "" {
		b.Version = map[string]string{"imagefactory": s.Version}
	}
	return b
}

// dependencies lists everything that decided the image's bytes: source, inputs, lock, base, tools, roles, packages. Archives
// appear by id; no host of a mirror does.
func dependencies(t factory.Tested) ([]resource, error) {
	lock, err := t.Lock.Encode()
	if err != nil {
		return nil, fmt.Errorf("lock of %s: %w", t.Job.Image.Name, err)
	}
	all := []resource{source(t.Job.Source)}
	if t.Job.Source.Inputs != "" {
		all = append(all, resource{Name: "inputs", Digest: sha(t.Job.Source.Inputs)})
	}
	all = append(all, resource{Name: "lock", Digest: sha(factory.DigestOf(lock))})
	all = append(all, base(t.Locked)...)
	all = append(all, named("role", t.Lock.Roles)...)
	all = append(all, named("tool", t.Lock.Tools)...)

	var packages []resource
	for _, lp := range t.Lock.Platforms {
		for _, p := range lp.Packages {
			packages = append(packages, resource{Name: p.Name, URI: p.Purl(t.Job.Image.Distro), Digest: sha(p.SHA256), Annotations: map[string]string{"archive": p.Archive}})
		}
	}
	key := func(a, b resource) int {
		return cmp.Or(cmp.Compare(a.URI, b.URI), cmp.Compare(a.Digest["sha256"], b.Digest["sha256"]))
	}
	slices.SortFunc(packages, key)
	// Packages for every architecture are in the set of each platform.
	packages = slices.CompactFunc(packages, func(a, b resource) bool { return key(a, b) == 0 })
	return append(all, packages...), nil
}

// baseName and baseLock are the dependencies of a child on the release that it is built on, and on that one's lock.
const (
	baseName = "base"
	baseLock = "base-lock"
)

// base names what a child is built on; nothing for an image that is made of packages alone.
func base(l factory.Locked) (all []resource) {
	if b := l.Job.Parent; b != nil {
		uri := fmt.Sprintf("pkg:oci/%s@%s?repository_url=%s&tag=%s", path.Base(b.Repository), url.QueryEscape(string(b.Digest)), url.QueryEscape(b.Repository), b.Tag)
		all = append(all, resource{Name: baseName, URI: uri, Digest: sha(b.Digest), Annotations: map[string]string{"image": b.Image, "release": b.Release}})
	}
	if p := l.Lock.Parent; p != nil {
		all = append(all, resource{Name: baseLock, Digest: sha(p.Lock), Annotations: map[string]string{"image": p.Image}})
	}
	return all
}

func source(s factory.Source) resource {
	r := resource{Name: "source"}
	if s.Remote != "" {
		r.URI = "git+" + s.Remote
	}
	if s.Dirty || s.Commit == "" {
		r.Annotations = map[string]string{"dirty": "true"}
		if s.Inputs != "" {
			r.Digest = sha(s.Inputs)
		}
		return r
	}
	r.Digest = map[string]string{"gitCommit": s.Commit}
	return r
}

func named(kind string, digests map[string]factory.Digest) []resource {
	var all []resource
	for name, d := range digests {
		all = append(all, resource{Name: kind + ":" + name, Digest: sha(d)})
	}
	slices.SortFunc(all, func(a, b resource) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// byproducts are the control outcomes in full, the tests as counts, and which documents there are; times of tests are left
// out of their digest.
func byproducts(a factory.Approved) ([]resource, error) {
	var all []resource
	if len(a.Controls) > 0 {
		text, err := json.Marshal(a.Controls)
		if err != nil {
			return nil, fmt.Errorf("control outcomes: %w", err)
		}
		all = append(all, resource{Name: "controls", Digest: sha(factory.DigestOf(text)), MediaType: "application/json", Content: text})
	}
	results, passed := slices.Clone(a.Results), 0
	for i := range results {
		results[i].Seconds = 0
		if results[i].Passed {
			passed++
		}
	}
	text, err := json.Marshal(results)
	if err != nil {
		return nil, fmt.Errorf("test results: %w", err)
	}
	all = append(all, resource{Name: "tests", Digest: sha(factory.DigestOf(text)), MediaType: "application/json",
		Annotations: map[string]string{"passed": strconv.Itoa(passed), "failed": strconv.Itoa(len(results) - passed)}})
	return append(all, listed(a.Documents())...), nil
}

// listed names documents of some kinds, or of all when none is given, by their digests; sorted.
func listed(documents []factory.Document, kinds ...factory.DocumentKind) (all []resource) {
	for _, d := range documents {
		if len(kinds) == 0 || slices.Contains(kinds, d.Kind) {
			all = append(all, resource{Name: string(d.Kind) + ":" + d.Name, Digest: sha(d.Digest), MediaType: d.MediaType})
		}
	}
	slices.SortFunc(all, func(a, b resource) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
