package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

// plant is a whole factory in memory: its digests are real functions of its inputs, its registry and its store keep what
// they are given, and it can be made to fail or to die in any act.
type plant struct {
	mu       sync.Mutex
	acts     []string
	fail     map[string]error // by act: "push debian-12"
	die      string           // an act that cancels everything, as kill -9 would
	content  map[string]string
	blobs    map[factory.Digest]bool
	signed   map[factory.Digest]bool
	tags     map[string]factory.Digest
	releases []factory.Release
	findings []factory.Finding
	panics   string // the image whose scan has a bug
	jobs     []factory.RunJob
	cleaned  []string
	kill     context.CancelCauseFunc
	clock    time.Time
	ids      int
}

func newPlant() *plant {
	return &plant{fail: map[string]error{}, content: map[string]string{}, blobs: map[factory.Digest]bool{}, signed: map[factory.Digest]bool{},
		tags: map[string]factory.Digest{}, clock: time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)}
}

var errKilled = errors.New("killed")

// act notes an act and fails as it was told to.
func (p *plant) act(ctx context.Context, verb, image string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := verb + " " + image
	p.acts = append(p.acts, name)
	p.clock = p.clock.Add(time.Second)
	if p.die == name {
		p.kill(errKilled)
		return errKilled
	}
	return p.fail[name]
}

func (p *plant) now() time.Time { p.mu.Lock(); defer p.mu.Unlock(); return p.clock }

func (p *plant) Resolve(ctx context.Context, j factory.Job) (factory.Locked, error) {
	return factory.Locked{Job: j, At: p.now(), Inputs: []byte("inputs of " + j.Image.Name)}, p.act(ctx, "resolve", j.Image.Name)
}

func (p *plant) Build(ctx context.Context, l factory.Locked) (factory.Built, error) {
	return factory.Built{Locked: l}, p.act(ctx, "build", l.Job.Image.Name)
}

func (p *plant) Harden(ctx context.Context, b factory.Built) (factory.Hardened, error) {
	return factory.Hardened{Built: b, Controls: []factory.ControlOutcome{{Control: "1.1", Outcome: factory.Applied}}}, p.act(ctx, "harden", b.Job.Image.Name)
}

func (p *plant) Pack(ctx context.Context, h factory.Hardened) (factory.Packed, error) {
	name := h.Job.Image.Name
	a := factory.Artifact{Digest: factory.DigestOf([]byte(name + p.content[name])), Layout: "layout of " + name}
	return factory.Packed{Hardened: h, Artifact: a}, p.act(ctx, "pack", name)
}

func (p *plant) Test(ctx context.Context, x factory.Packed) (factory.Tested, error) {
	return factory.Tested{Packed: x, Results: []factory.TestResult{{Name: "t", Passed: true}}}, p.act(ctx, "test", x.Job.Image.Name)
}

func (p *plant) Prove(ctx context.Context, h factory.Hardened) (factory.Proven, error) {
	pass := factory.Evaluation{View: factory.ContainerView, Level: 1, Rules: []factory.RuleOutcome{{Rule: "r", Result: factory.RulePass}}}
	doc := factory.NewDocument(factory.ARF, "container level 1", factory.Platform{}, "application/xml", []byte("<arf/>"))
	return factory.Proven{Compliance: factory.Compliance{Evaluations: []factory.Evaluation{pass}}, Documents: []factory.Document{doc}}, p.act(ctx, "prove", h.Job.Image.Name)
}

func (p *plant) Scan(ctx context.Context, x factory.Packed) (factory.Scanned, error) {
	if x.Job.Image.Name == p.panics {
		panic("index out of range")
	}
	doc := factory.NewDocument(factory.CycloneDX, "linux/amd64", factory.Platform{}, "application/json", []byte("{}"))
	return factory.Scanned{Scan: factory.Scan{Packages: 1, Findings: p.findings}, Documents: []factory.Document{doc}}, p.act(ctx, "scan", x.Job.Image.Name)
}

// Decide lets pass whatever was tested, proven and scanned and has no finding.
func (p *plant) Decide(ctx context.Context, e factory.Evidence) (factory.Decision, []factory.Document, error) {
	d := factory.Decision{Image: e.Image.Name, Env: e.Env, Digest: e.Digest, Pass: len(e.Tests) > 0 && len(e.Compliance.Evaluations) > 0 && e.Scan.Packages > 0}
	for _, f := range e.Scan.Findings {
		d.Pass = false
		d.Reasons = append(d.Reasons, factory.Reason{Rule: "vulnerability", Subject: f.Key(), Blocks: true, Text: f.Key() + " is 1 day late", Hint: "factory build --lock"})
	}
	vex := factory.NewDocument(factory.OpenVEX, "dev", factory.Platform{}, "application/json", []byte("{}"))
	return d, []factory.Document{vex}, p.act(ctx, "gate", e.Image.Name)
}

func (p *plant) Sign(ctx context.Context, _ string, a factory.Approved) ([]factory.Signature, error) {
	if !a.Valid() {
		return nil, factory.ErrBlocked
	}
	return []factory.Signature{{Subject: a.Artifact.Digest}}, p.act(ctx, "sign", a.Job.Image.Name)
}

func (p *plant) Push(ctx context.Context, repository string, a factory.Artifact) error {
	if err := p.act(ctx, "push", base(repository)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blobs[a.Digest] = true
	return nil
}

func (p *plant) Attach(ctx context.Context, repository string, sigs []factory.Signature) error {
	if err := p.act(ctx, "attach", base(repository)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range sigs {
		p.signed[s.Subject] = true
	}
	return nil
}

func (p *plant) Verify(ctx context.Context, repository string, d factory.Digest) error {
	if err := p.act(ctx, "verify", base(repository)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.blobs[d] || !p.signed[d] {
		return factory.ErrUnverified
	}
	return nil
}

func (p *plant) Tag(ctx context.Context, repository string, d factory.Digest, t factory.Tag) error {
	if err := p.act(ctx, "tag", base(repository)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := repository + ":" + t.String()
	if old, ok := p.tags[key]; ok && old != d {
		return fmt.Errorf("%s: %w", key, factory.ErrConflict)
	}
	p.tags[key] = d
	return nil
}

func (p *plant) AddRelease(ctx context.Context, r factory.Release) (factory.Release, error) {
	if err := p.act(ctx, "record", r.Image); err != nil {
		return r, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, old := range p.releases {
		if old.Tagged() == r.Tagged() && old.Digest == r.Digest {
			return old, nil
		}
	}
	p.releases = append(p.releases, r)
	return r, nil
}

func (p *plant) SaveJob(_ context.Context, _ string, j factory.RunJob) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs, j)
	return p.fail["save "+j.Image]
}

func base(repository string) string { return repository[len("registry.example/"):] }

func (p *plant) line() pipeline.Line {
	return pipeline.Line{Resolver: p, Builder: p, Hardener: p, Packer: p, Tester: p, Prover: p, Scanner: p, Gate: p, Signer: p, Attacher: p, Publisher: p, Verifier: p, Recorder: p,
		Repository: func(image string) string { return "registry.example/" + image },
		NewID:      func() string { p.mu.Lock(); defer p.mu.Unlock(); p.ids++; return fmt.Sprint("r", p.ids) },
		Now:        p.now,
		Cleanup:    func(a factory.Artifact) { p.mu.Lock(); defer p.mu.Unlock(); p.cleaned = append(p.cleaned, a.Layout) }}
}

// run is one night over jobs, in a context that the plant can kill.
func (p *plant) run(t *testing.T, jobs ...factory.Job) (pipeline.Outcome, error) {
	t.Helper()
	ctx, kill := context.WithCancelCause(t.Context())
	defer kill(nil)
	p.kill = kill
	return pipeline.Night{Maker: p.line(), Journal: p, Width: 2}.Run(ctx, "run", jobs)
}

func (p *plant) published() map[string]factory.Digest { return maps.Clone(p.tags) }

func job(name string) factory.Job {
	return factory.Job{Image: factory.Image{Name: name, Owner: factory.Owner{Team: "t"}}, Action: factory.Rebuild, Reason: "first release", Env: factory.Dev,
		Source: factory.Source{Hash: "1a2b3c4d", Commit: "1a2b3c4d"}}
}
