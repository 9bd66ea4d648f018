package upstream

import (
	"context"
	"path"
)

func yumRecords(repos []yum, states []repomdState) (all []suiteRecord) {
	for i, y := range repos {
		all = append(all, suiteRecord{Archive: y.ID, Suite: y.Suite, Platform: y.platform.String(), Folder: y.folder, Digest: states[i].Digest})
	}
	return all
}

// current follows the mirror lists, and compares where they lead and what is there with what was remembered.
func (s dnf) current(ctx context.Context, req Request) (bool, error) {
	repos, err := yums(req.Image, s.Archives)
	if err != nil {
		return false, err
	}
	rec, ok := s.recall(req, len(repos))
	if !ok {
		return false, nil
	}
	if err := s.locate(ctx, repos); err != nil {
		return false, err
	}
	for i, r := range rec.Suites {
		if y := repos[i]; r.Archive != y.ID || r.Suite != y.Suite || r.Platform != y.platform.String() || r.Folder != y.folder {
			return false, nil
		}
	}
	return s.compare(req.Image.Name, rec, func(i int, r *suiteRecord) (bool, error) {
		c, err := s.clientOf(repos[i].ID)
		if err != nil {
			return false, err
		}
		return unchanged(ctx, c, repos[i].String(), repos[i].release(), path.Base(repomdFile), r)
	})
}
