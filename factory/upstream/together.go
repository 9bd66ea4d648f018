package upstream

import (
	"context"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// Solution is what came of one request.
type Solution struct {
	Lock   factory.Lock
	Change factory.LockChange
	Err    error
}

// SolveAll is [Solver.Solve] for many, in their order. For images with the same archives, keyring and platforms these are read and verified
// once; what is asked of them, pinned and ruled out stays each image's own, and so does what goes wrong with it. None may be
// the parent of another one: a parent's lock must be there before.
func (s Solver) SolveAll(ctx context.Context, reqs []Request) []Solution {
	all := make([]Solution, len(reqs))
	groups := map[string][]int{}
	var work sync.WaitGroup
	asked := make([]Request, len(reqs))
	run := func(a adapter, members []int) {
		work.Go(func() {
			some := make([]Request, len(members))
			for j, i := range members {
				some[j] = asked[i]
			}
			for j, solution := range a.solve(ctx, some) {
				all[members[j]] = solution
			}
		})
	}
	for i, req := range reqs {
		if asked[i], all[i].Err = req.continued(); all[i].Err != nil {
			continue
		}
		a := s.adapter(req.Image.Distro)
		if key := a.shares(asked[i]); key != "" {
			groups[key] = append(groups[key], i)
		} else {
			run(a, []int{i})
		}
	}
	for _, members := range groups {
		run(s.adapter(reqs[members[0]].Image.Distro), members)
	}
	work.Wait()
	return all
}

// failed is the same fault for all.
func failed(all []Solution, err error) []Solution {
	for i := range all {
		all[i] = Solution{Err: err}
	}
	return all
}
