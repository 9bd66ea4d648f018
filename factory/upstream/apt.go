package upstream

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

//go:embed solve.sh
var solveScript string

//go:embed plan.py
var planScript string

// apt locks images of the Debian family.
type apt struct{ Solver }

// shares is what apt reads of the archives for an image, and for which platforms; empty when that cannot be said.
func (s apt) shares(req Request) string {
	srcs, err := sources(req.Image, s.Archives)
	if err != nil {
		return ""
	}
	var all strings.Builder
	for i, src := range srcs {
		fmt.Fprintf(&all, "%s %s\n%s", src.ID, src.entry(i, req.Image.Packages.Essential), src.stanza(s.keyring(req.Image)))
	}
	for _, p := range req.Image.Platforms {
		fmt.Fprintln(&all, p)
	}
	return all.String()
}

// solve has apt read the archives once and decide for each image on its own.
func (s apt) solve(ctx context.Context, reqs []Request) []Solution {
	all := make([]Solution, len(reqs))
	files, err := inputs(reqs, s)
	if err != nil {
		return failed(all, err)
	}
	res, err := s.Runner.Run(ctx, s.step(reqs[0].Image.Name, "lock", "solve.sh", files))
	if err != nil {
		return failed(all, err)
	}
	for i, req := range reqs {
		all[i].Lock, all[i].Change, all[i].Err = s.solved(ctx, req, answerTo(i, res))
		if all[i].Err != nil {
			all[i] = Solution{Err: all[i].Err}
		}
	}
	return all
}

// answerTo is what the step said of the i-th image, as if it had been alone.
func answerTo(i int, res factory.StepResult) factory.StepResult {
	own := factory.StepResult{Exit: res.Exit, Stdout: res.Stdout, Stderr: res.Stderr, Output: map[string][]byte{}}
	for name, b := range res.Output {
		if rest, ok := strings.CutPrefix(name, imageDir(i)+"/"); ok {
			own.Output[rest] = b
		} else if strings.HasPrefix(name, "release/") {
			own.Output[name] = b
		}
	}
	if _, none := own.Output["exit"]; none && own.Exit == 0 {
		own.Exit, own.Stdout, own.Stderr = exitSolution, own.Output["said"], nil
	}
	return own
}

// solved makes the lock of one image from what the step left.
func (s apt) solved(ctx context.Context, req Request, res factory.StepResult) (lock factory.Lock, change factory.LockChange, err error) {
	srcs, err := sources(req.Image, s.Archives)
	if err != nil {
		return lock, change, err
	}
	if res.Exit != 0 {
		return lock, change, fault{img: req.Image, srcs: srcs, keyring: s.keyring(req.Image)}.explain(res)
	}
	rels, err := releases(res.Output, srcs)
	if err != nil {
		return lock, change, err
	}
	if lock, err = assemble(req, srcs, rels, res.Output); err != nil {
		return lock, change, err
	}
	if err := forward(req, moments(srcs, rels), lock, compareVersions); err != nil {
		return lock, change, err
	}
	change = lock.Since(req.Old)
	if err := s.nameCVEs(ctx, req, srcs, lock, &change); ctx.Err() != nil {
		return lock, change, context.Cause(ctx)
	} else if err != nil {
		s.warn(req.Image.Name, "the CVE ids of this update are incomplete: "+err.Error())
	}
	return lock, change, s.remember(req, lock, suiteRecords(srcs, rels))
}

func (s Solver) keyring(img factory.Image) string {
	dir := s.Keyrings
	if dir == "" {
		dir = "/usr/share/keyrings"
	}
	return path.Join(dir, img.Keyring)
}

func (s Solver) step(image, name, script string, files map[string]factory.File) factory.Step {
	return factory.Step{
		Name: name + " " + image, Image: image, Step: factory.StepResolve, Root: s.Toolbox, Args: []string{"/bin/sh", path.Join(inDir, script), inDir, outDir, workDir},
		Files: files, Output: outDir, Tmpfs: []string{workDir}, Network: true, Fresh: true,
	}
}

// suiteState is a suite's Release file as apt verified it.
type suiteState struct {
	releaseFile
	Digest factory.Digest
}

func releases(output map[string][]byte, srcs []source) ([]suiteState, error) {
	all := make([]suiteState, len(srcs))
	for i, src := range srcs {
		b, ok := output["release/"+listName(src.release())]
		if !ok {
			return nil, &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("archive %s has no InRelease file", src), Hint: "a Release file with a detached signature is not enough"}
		}
		r, err := parseRelease(b)
		if err != nil {
			return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "archive " + src.String(), Cause: err}
		}
		all[i] = suiteState{r, factory.DigestOf(b)}
	}
	return all, nil
}

// assemble makes the lock from what the step left.
func assemble(req Request, srcs []source, rels []suiteState, output map[string][]byte) (factory.Lock, error) {
	lock := factory.Lock{
		Schema: factory.LockSchema, Image: req.Image.Name, Definition: req.Definition,
		Tools: maps.Clone(req.Tools), Roles: maps.Clone(req.Roles),
	}
	var newest, fallback time.Time
	for _, p := range req.Image.Platforms {
		offers, err := parsePlan(output[p.Architecture+".uris"], output[p.Architecture+".packages"], srcs)
		if err != nil {
			return factory.Lock{}, fmt.Errorf("%s %s: %w", req.Image.Name, p, err)
		}
		if err := hold(req.Image, srcs, offers); err != nil {
			return factory.Lock{}, err
		}
		lp := factory.LockedPlatform{Platform: p}
		for _, o := range offers {
			lp.Packages = append(lp.Packages, o.Package)
			if d := rels[o.source].Date; len(srcs[o.source].Only) == 0 && d.After(newest) {
				newest = d
			} else if d.After(fallback) {
				fallback = d
			}
		}
		lock.Platforms = append(lock.Platforms, lp)
	}
	if newest.IsZero() { // everything comes from limited suites
		newest = fallback
	}
	err := settle(req, &lock, newest, slices.MaxFunc(rels, byDate).Date)
	return lock, err
}

// hold checks apt's plan against the definition: everything asked for is in it, and nothing that is ruled out.
func hold(img factory.Image, srcs []source, offers []offer) error {
	have := map[string]bool{}
	for _, o := range offers {
		have[o.Name] = true
		if only := srcs[o.source].Only; len(only) > 0 && !slices.Contains(only, o.Name) {
			return &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where, What: fmt.Sprintf("%s needs %s from %s, which may offer %s only", img.Name, o.Name, srcs[o.source], strings.Join(only, ", "))}
		}
		if slices.Contains(img.Packages.Exclude, o.Name) {
			return &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where, What: fmt.Sprintf("%s excludes %s, and apt would install it", img.Name, o.Name)}
		}
	}
	if len(offers) == 0 {
		return &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where, What: img.Name + " asks for no packages"}
	}
	for _, name := range img.Packages.Include {
		if !have[name] {
			return missing(img, srcs, name)
		}
	}
	return nil
}

func missing(img factory.Image, srcs []source, name string) error {
	var searched []string
	for _, s := range srcs {
		searched = append(searched, s.String())
	}
	return &factory.Problem{
		Kind: factory.ErrUnavailable, Where: img.Where, What: fmt.Sprintf("%s asks for package %s, which is in none of its archives: %s", img.Name, name, strings.Join(searched, ", ")),
		Hint: "apt-cache search " + name + " shows what there is; a virtual package is not enough",
	}
}
