package buildkit

import (
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

// One solve asks for a step's output and for its root, or the step would run again when the root is used.
func TestRootIsAskedForWithTheOutput(t *testing.T) {
	t.Parallel()
	root, err := marshal(t.Context(), llb.Image("registry.example.com/base"), amd64)
	if err != nil {
		t.Fatal(err)
	}
	for _, inToolbox := range []bool{false, true} {
		s := factory.Step{Name: "harden", Args: []string{"/bin/true"}, Root: root, Toolbox: !inToolbox, InToolbox: inToolbox, Output: "/.out"}
		exec, err := withToolbox(t).exec(t.Context(), s, "")
		if err != nil {
			t.Fatal(err)
		}
		outputs := map[pb.OutputIndex]bool{}
		for _, op := range ops(t, wanted(exec, s)) {
			if f := op.GetFile(); f != nil && len(f.Actions) == 2 {
				for _, in := range op.Inputs {
					outputs[pb.OutputIndex(in.Index)] = true
				}
			}
		}
		if asked := len(outputs) == 2; asked == inToolbox {
			t.Errorf("in the toolbox %t: outputs %v are asked for", inToolbox, outputs)
		}
	}
}
