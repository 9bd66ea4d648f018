package upstream

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// SolvePart is Solve for an image that has only a part of its parent, and packages of its own. Parent is what that one asks for. The
// whole is solved and cut: to what only: names, without what that depends on, and to the image's own packages with all that these
// depend on, whether the parent has it or not.
func (s Solver) SolvePart(ctx context.Context, req Request, parent factory.Packages) (factory.Lock, factory.LockChange, error) {
	none, own := factory.Lock{}, req.Image.Packages.Include
	needs, err := s.needs(ctx, req, parent)
	if err != nil {
		return none, factory.LockChange{}, err
	}
	all := req
	all.Image.Packages.Essential = parent.Essential
	all.Image.Packages.Include = slices.Concat(parent.Include, own)
	all.Image.Packages.Exclude = less(parent.Exclude, own)
	whole, known, err := s.Solve(ctx, all)
	if err != nil {
		return whole, known, err
	}
	lock := whole
	lock.Platforms = nil
	for _, p := range req.Image.Platforms {
		if _, missing := whole.Part([]factory.Platform{p}, req.Image.Only); len(missing) > 0 {
			return none, known, &factory.Problem{Kind: factory.ErrInvalid, Where: req.Image.Where, What: fmt.Sprintf("only: %s has no package %s", req.Image.From, missing[0]),
				Hint: "the lock.json of " + req.Image.From + " lists what it has; include: brings others"}
		}
		keep := slices.Clone(req.Image.Only)
		for _, pkg := range needs.For(p) {
			keep = append(keep, pkg.Name)
		}
		part, missing := whole.Part([]factory.Platform{p}, keep)
		if len(missing) > 0 {
			return none, known, &factory.Problem{Kind: factory.ErrInvalid, Where: req.Image.Where,
				What: fmt.Sprintf("%s would bring %s, and %s has another package in its place", strings.Join(own, ", "), missing[0], req.Image.From),
				Hint: "name that one in packages.include: too"}
		}
		lock.Platforms = append(lock.Platforms, part...)
	}
	change := lock.Since(req.Old)
	change.Credit(known)
	if len(whole.Lacks(needs)) > 0 {
		return lock, change, nil // an archive moved between the two answers: the next run asks again
	}
	return lock, change, s.rememberPart(req, whole, lock)
}

// rememberPart has the record of the whole, which Solve left, speak of what was cut out of it: that is the lock which a night asks about.
func (s Solver) rememberPart(req Request, whole, part factory.Lock) error {
	req.Old = &whole
	srcs, err := sources(req.Image, s.Archives)
	if err != nil {
		return err
	}
	if rec, ok := s.recall(req, len(srcs)); ok {
		if rec.Lock, err = essence(part); err == nil {
			s.save(req.Image.Name, rec)
		}
	}
	return err
}

// needs are the image's own packages with all that they depend on, as if there were nothing else.
func (s Solver) needs(ctx context.Context, req Request, parent factory.Packages) (factory.Lock, error) {
	own := req.Image.Packages.Include
	req.Parent, req.Old = nil, nil
	req.Image.Packages.Essential, req.Image.Packages.Exclude = false, less(parent.Exclude, own)
	s.Cache = "" // nothing is locked by it
	lock, _, err := s.Solve(ctx, req)
	return lock, err
}

func less(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}
