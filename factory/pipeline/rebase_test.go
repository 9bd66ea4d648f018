package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Rebase exchanges bases in the plant.
func (p *plant) Rebase(ctx context.Context, j factory.Job) (factory.Packed, error) {
	var packed factory.Packed
	packed.Job, packed.At = j, p.now()
	packed.Artifact = factory.Artifact{Digest: factory.DigestOf([]byte("rebased")), Layout: "layout"}
	return packed, p.act(ctx, "rebase", j.Image.Name)
}

// A rebase is the line from test to record; its tag is its own and it says so. Whatever fails, nothing is visible.
func TestRebaseIsTheSameLine(t *testing.T) {
	rebased := func() factory.Job {
		j := job("debian-12")
		j.Parent = &factory.Base{Image: "base"}
		j.Rebase = &factory.Rebase{Before: factory.Base{Digest: "sha256:a"}, Onto: factory.Base{Digest: "sha256:b"}, Carried: []string{"tests"}}
		return j
	}
	p := newPlant()
	line := p.line()
	line.Rebaser = p
	r, times, err := line.Rebase(t.Context(), "run", rebased())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.acts[1:4])
	if got := strings.Join(p.acts, " "); got != strings.ReplaceAll("rebase X prove X scan X test X gate X sign X push X attach X verify X tag X record X", "X", "debian-12") {
		t.Errorf("%s", got)
	}
	if r.Tag.Hash != rebased().Rebase.Hash() || r.Tag.Hash == "1a2b3c4d" || r.Source.Hash != "1a2b3c4d" || r.Rebased == nil || r.Parent == nil || len(times) != 8 {
		t.Errorf("%+v, %v", r, times)
	}
	for _, verb := range []string{"rebase", "scan", "gate", "sign", "push", "verify"} {
		p := newPlant()
		line := p.line()
		line.Rebaser = p
		p.fail[verb+" debian-12"] = errors.New("it broke")
		if _, _, err := line.Rebase(t.Context(), "run", rebased()); err == nil || len(p.tags)+len(p.releases) > 0 {
			t.Errorf("%s: %v, %v", verb, err, p.tags)
		}
	}
}
