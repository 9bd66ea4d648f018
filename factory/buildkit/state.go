package buildkit

import (
	"context"
	"fmt"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"

	"github.com/imagefactory/imagefactory/factory"
)

func ociPlatform(p factory.Platform) ocispec.Platform {
	return ocispec.Platform{OS: p.OS, Architecture: p.Architecture}
}

// marshal turns a state into a root.
func marshal(ctx context.Context, st llb.State, p factory.Platform) (factory.Root, error) {
	def, err := st.Marshal(ctx, llb.Platform(ociPlatform(p)))
	if err != nil {
		return factory.Root{}, fmt.Errorf("describe filesystem: %w", err)
	}
	if len(def.Def) == 0 {
		return factory.Root{Platform: p}, nil
	}
	// Deterministic, because a map in it would otherwise come in another order each time.
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(def.ToPB())
	if err != nil {
		return factory.Root{}, fmt.Errorf("describe filesystem: %w", err)
	}
	return factory.Root{Platform: p, State: b}, nil
}

// unmarshal turns a root back into a state.
func unmarshal(r factory.Root) (llb.State, error) {
	if len(r.State) == 0 {
		return llb.Scratch(), nil
	}
	var def pb.Definition
	if err := def.UnmarshalVT(r.State); err != nil {
		return llb.State{}, fmt.Errorf("read filesystem description: %w", err)
	}
	op, err := llb.NewDefinitionOp(&def)
	if err != nil {
		return llb.State{}, fmt.Errorf("read filesystem description: %w", err)
	}
	return llb.NewState(op).Platform(ociPlatform(r.Platform)), nil
}
