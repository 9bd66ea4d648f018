package openscap

import (
	"context"
	"fmt"
	"regexp"

	"github.com/imagefactory/imagefactory/factory"
)

var version = regexp.MustCompile(`^OpenSCAP command line tool \(oscap\) ([0-9][0-9.]{0,20})\n`)

// without is the proof of an image for whose release no content exists. The tool is asked for its version, so that what is said
// is said of a toolbox that could have looked.
func (p Prover) without(ctx context.Context, img factory.Image, c content) (factory.Proven, error) {
	res, err := p.Runner.Run(ctx, factory.Step{
		Name: "prove " + img.Name + ", without content", Image: img.Name, Step: factory.StepProve, InToolbox: true,
		Root: factory.Root{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}},
		Args: []string{"/usr/bin/oscap", "--version"}, Output: outputDir, // what a cached step prints is kept only with its output
	})
	if err != nil {
		return factory.Proven{}, fmt.Errorf("prove %s: %w", img.Name, err)
	}
	found := version.FindSubmatch(res.Stdout)
	if res.Exit != 0 || found == nil {
		return factory.Proven{}, fmt.Errorf("prove %s: %w", img.Name, lie(fmt.Sprintf("oscap --version ended with exit %d and does not say which it is", res.Exit), string(res.Stderr)))
	}
	p.Events.Emit(factory.Event{Kind: factory.Warned, Image: img.Name, Step: factory.StepProve, Message: "nothing was evaluated: " + c.none})
	return factory.Proven{Compliance: factory.Compliance{
		Tool: "OpenSCAP " + string(found[1]), NoContent: c.none,
		Method: []string{"Nothing was evaluated, and nothing is claimed: content of another distribution would find every rule not applicable, which is no proof."},
	}}, nil
}
