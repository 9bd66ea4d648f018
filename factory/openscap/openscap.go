// Package openscap proves, independently of whatever hardened it, what of the CIS benchmark an image's root filesystem fulfils.
//
// Rules: OpenSCAP runs in the toolbox on a throwaway copy of the root, without network; what is changed so that it measures at all
// is said in Compliance.Method. An evaluation counts only when its guards hold and a canary evaluation in the very same copy finds
// the faults that were planted there: this tool passes what it did not look at. Waivers are not known here.
package openscap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// Runner runs a step in a root filesystem.
type Runner interface {
	Run(ctx context.Context, s factory.Step) (factory.StepResult, error)
}

// Prover evaluates root filesystems with the toolbox's OpenSCAP and SCAP Security Guide.
type Prover struct {
	Runner Runner
	Events factory.Events
	// Contents is shared by all provers of a run; nil = the content is read anew for every image.
	Contents *Contents
}

// Prove evaluates every root of h, hardened or not, in both views, and returns what came of every rule with the documents that
// show it. A release that is known to have no content comes back with Compliance.NoContent and nothing that was evaluated; one
// that is not known is ErrNotFound. An evaluation that cannot be trusted is ErrUnverified; the Problem says which guard did not
// hold.
func (p Prover) Prove(ctx context.Context, h factory.Hardened) (factory.Proven, error) {
	img := h.Job.Image
	c, err := contentFor(img.Distro)
	if err != nil {
		return factory.Proven{}, fmt.Errorf("prove %s: %w", img.Name, err)
	}
	if c.file == "" {
		return p.without(ctx, img, c)
	}
	copies, err := p.prepare(ctx, c)
	if err != nil {
		return factory.Proven{}, fmt.Errorf("prove %s: %w", img.Name, err)
	}
	var out factory.Proven
	for _, root := range h.Roots {
		img.Config = h.Config(root.Platform)
		views, err := p.both(ctx, img, c.views(img, copies), root)
		if err != nil {
			return factory.Proven{}, fmt.Errorf("prove %s: %w", img.Name, err)
		}
		if err := merge(&out, c, views); err != nil {
			return factory.Proven{}, fmt.Errorf("prove %s %s: %w", img.Name, root.Platform, err)
		}
	}
	slices.SortFunc(out.Compliance.Evaluations, func(a, b factory.Evaluation) int {
		return cmp.Or(cmp.Compare(a.Platform.String(), b.Platform.String()), cmp.Compare(a.View, b.View), cmp.Compare(a.Level, b.Level))
	})
	slices.SortFunc(out.Documents, func(a, b factory.Document) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return out, nil
}

// both evaluates one root in both views, side by side: each has its own copy.
func (p Prover) both(ctx context.Context, img factory.Image, wanted []request, root factory.Root) ([]viewed, error) {
	views, errs := make([]viewed, len(wanted)), make([]error, len(wanted))
	var wg sync.WaitGroup
	for i, req := range wanted {
		wg.Go(func() {
			views[i], errs[i] = p.view(ctx, img, req, root)
			if errs[i] != nil {
				errs[i] = fmt.Errorf("%s, %s view: %w", root.Platform, req.View, errs[i])
				return
			}
			for _, e := range views[i].evaluations {
				p.Events.Emit(factory.Event{Kind: factory.Noted, Image: img.Name, Step: factory.StepProve, Seconds: e.Seconds,
					Message: fmt.Sprintf("%s: %s: %s", root.Platform, e.Name(), e.Score())})
			}
		})
	}
	wg.Wait()
	return views, errors.Join(errs...)
}

// merge adds what the views of one platform found.
func merge(out *factory.Proven, c content, views []viewed) error {
	for _, v := range views {
		about := factory.Compliance{Benchmark: v.benchmark, Content: "SCAP Security Guide " + v.version, Tool: "OpenSCAP " + v.tool, ContentDigest: v.from.digest}
		have := &out.Compliance
		if have.Benchmark == "" {
			have.Benchmark, have.Content, have.Tool, have.ContentDigest = about.Benchmark, about.Content, about.Tool, about.ContentDigest
		}
		if have.Benchmark != about.Benchmark || have.Content != about.Content || have.Tool != about.Tool || have.ContentDigest != about.ContentDigest {
			return &factory.Problem{Kind: factory.ErrUnverified, What: "two evaluations of one image used different content or tools"}
		}
		have.Method = addNew(have.Method, c.method(v)...)
		have.Canaries = addNew(have.Canaries, v.canaries...)
		have.Evaluations = append(have.Evaluations, v.evaluations...)
		out.Documents = append(out.Documents, v.documents...)
	}
	slices.Sort(out.Compliance.Canaries)
	return nil
}

// addNew appends what is not there yet.
func addNew(all []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
