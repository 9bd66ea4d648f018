package cosign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	// ProvenanceType is the predicate type of SLSA provenance v1.
	ProvenanceType = "https://slsa.dev/provenance/v1"
	// BuildType says how to read the parameters of this factory's provenance.
	BuildType = "https://github.com/imagefactory/imagefactory/build-types/image/v1"

	statementType = "https://in-toto.io/Statement/v1"
)

// statement is an in-toto statement whose predicate is SLSA provenance v1. Field order is the order on the wire, and
// every list is sorted, so that one build makes one text apart from its times.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     provenance `json:"predicate"`
}

// tag is the release that the statement is about.
func (s statement) tag() factory.Tag { return s.Predicate.BuildDefinition.ExternalParameters.Tag }

func (s statement) finished() time.Time { return s.Predicate.RunDetails.Metadata.FinishedOn }

type provenance struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

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

// resource is an in-toto resource descriptor.
type resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Content     []byte            `json:"content,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func sha(d factory.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

// provenanceOf says where t comes from. Its subjects are the index and every platform's manifest.
func (s *Signer) provenanceOf(repository string, t factory.Tested) ([]byte, error) {
	job, finished := t.Job, t.At
	if s.Now != nil {
		finished = s.Now()
	}
	dependencies, err := dependencies(t)
	if err != nil {
		return nil, err
	}
	byproducts, err := byproducts(t)
	if err != nil {
		return nil, err
	}
	st := statement{
		Type:          statementType,
		Subject:       []resource{{Name: repository, Digest: sha(t.Artifact.Digest)}},
		PredicateType: ProvenanceType,
		Predicate: provenance{
			BuildDefinition: buildDefinition{
				BuildType: BuildType,
				ExternalParameters: externalParameters{
					Image: job.Image.Name, Env: job.Env, Platforms: job.Image.Platforms,
					Tag: factory.Tag{Date: factory.DateOf(t.At), Hash: job.Source.Hash, Env: job.Env},
				},
				InternalParameters: internalParameters{
					Definition: t.Lock.Definition, Timestamp: t.Lock.Timestamp.UTC(), Reason: job.Reason,
					Dirty: job.Source.Dirty, Supersedes: job.Supersedes,
				},
				ResolvedDependencies: dependencies,
			},
			RunDetails: runDetails{
				Builder:    builder{ID: s.Builder},
				Metadata:   runMetadata{InvocationID: s.Run, StartedOn: seconds(t.At), FinishedOn: seconds(finished)},
				Byproducts: byproducts,
			},
		},
	}
	if s.Version != "" {
		st.Predicate.RunDetails.Builder.Version = map[string]string{"imagefactory": s.Version}
	}
	for _, p := range platforms(t.Artifact) {
		st.Subject = append(st.Subject, resource{Name: repository + " " + p.Platform.String(), Digest: sha(p.Digest)})
	}
	return json.Marshal(st)
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func platforms(a factory.Artifact) []factory.PlatformImage {
	sorted := slices.Clone(a.Platforms)
	slices.SortFunc(sorted, func(a, b factory.PlatformImage) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	return sorted
}

// dependencies lists everything that decided the image's bytes: source, inputs, lock, tools, roles, packages. Archives
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

// byproducts are the control outcomes in full and the tests as counts; times of tests are left out of their digest.
func byproducts(t factory.Tested) ([]resource, error) {
	var all []resource
	if len(t.Controls) > 0 {
		text, err := json.Marshal(t.Controls)
		if err != nil {
			return nil, fmt.Errorf("control outcomes: %w", err)
		}
		all = append(all, resource{Name: "controls", Digest: sha(factory.DigestOf(text)), MediaType: "application/json", Content: text})
	}
	results, passed := slices.Clone(t.Results), 0
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
	return append(all, resource{Name: "tests", Digest: sha(factory.DigestOf(text)), MediaType: "application/json",
		Annotations: map[string]string{"passed": strconv.Itoa(passed), "failed": strconv.Itoa(len(results) - passed)}}), nil
}
