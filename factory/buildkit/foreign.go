package buildkit

import (
	"context"
	"fmt"
	"slices"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

// nothingElse refuses a result that is made of more than the base and the context, or that had more than these while it was made:
// what checkDockerfile could not see, because a variable stood in its place, is seen here.
func (k *child) nothingElse(ctx context.Context, root, made llb.State, at factory.Position) error {
	known, err := k.steps(ctx, root)
	if err != nil {
		return err
	}
	found, err := k.steps(ctx, made)
	if err != nil {
		return err
	}
	var from []string
	for _, op := range known {
		from = append(from, op.GetSource().GetIdentifier())
	}
	for raw, op := range found {
		if s := op.GetSource(); s != nil && !slices.Contains(from, s.Identifier) {
			return foreign(at, s.Identifier)
		}
		if e := op.GetExec(); e != nil && known[raw] == nil {
			if what := beyond(e); what != "" {
				return &factory.Problem{Kind: factory.ErrInvalid, What: "RUN with " + what + " is not possible here", Where: at,
					Hint: "remove it: commands have no network, no privileges and no secrets, and find nothing that another build left"}
			}
		}
	}
	return nil
}

// steps are what a state is made of, by their bytes.
func (k *child) steps(ctx context.Context, st llb.State) (map[string]*pb.Op, error) {
	def, err := st.Marshal(ctx, llb.Platform(ociPlatform(k.platform)))
	if err != nil {
		return nil, err
	}
	all := map[string]*pb.Op{}
	for _, raw := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(raw); err != nil {
			return nil, err
		}
		all[string(raw)] = &op
	}
	return all, nil
}

// beyond says what a command has beside its root and read files; empty = nothing.
func beyond(e *pb.ExecOp) string {
	switch {
	case e.GetNetwork() != pb.NetMode_NONE:
		return "network"
	case e.GetSecurity() != pb.SecurityMode_SANDBOX || len(e.GetCdiDevices()) > 0:
		return "privileges"
	case len(e.GetSecretenv()) > 0:
		return "a secret"
	}
	for _, m := range e.GetMounts() {
		switch m.GetMountType() {
		case pb.MountType_BIND, pb.MountType_TMPFS:
		case pb.MountType_CACHE:
			return "a cache"
		default:
			return "a secret"
		}
	}
	return ""
}

func foreign(at factory.Position, what string) error {
	return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%.200s is neither the image that this one is built on nor a file of its folder", what), Where: at,
		Hint: "build FROM the parent alone, put files below files/, and packages into image.yaml"}
}
