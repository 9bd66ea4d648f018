package buildkit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	contextDir = "files/" // of the image's folder: what a Dockerfile may copy
	baseInput  = "base"
	configKey  = "containerimage.config"
)

// dockerfile has the build service's own frontend make of the image's Dockerfile what lies on root. Nothing in it has network,
// and there is no other image and no address that it could take anything from.
func (c *Client) dockerfile(ctx context.Context, k *child, root llb.State) (llb.State, error) {
	img := k.Job.Image
	text, there := k.context[img.Dockerfile]
	if !there {
		return root, &factory.Problem{Kind: factory.ErrInvalid, What: "there is no such file", Where: dockerfileAt(img)}
	}
	if err := CheckDockerfile(img, text.Data); err != nil {
		return root, err
	}
	inputs, err := k.inputs(ctx, root, text.Data)
	if err != nil {
		return root, err
	}
	metadata, err := json.Marshal(map[string][]byte{configKey: k.config})
	if err != nil {
		return root, err
	}
	options := map[string]string{
		"filename": "Dockerfile", "platform": k.platform.String(), "force-network-mode": "none", "cmdline": "the factory's",
		"context:" + img.From: "input:" + baseInput, "input-metadata:" + baseInput: string(metadata),
		"build-arg:SOURCE_DATE_EPOCH": fmt.Sprint(k.Lock.Timestamp.Unix()),
	}
	if k.Fresh != "" {
		options["no-cache"] = ""
	}
	var made llb.State
	err = c.frontend(ctx, k, gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: options, FrontendInputs: inputs}, func(res *gateway.Result) error {
		ref, err := res.SingleRef()
		if err != nil {
			return err
		}
		if made, err = ref.ToState(); err == nil {
			k.image = res.Metadata[configKey]
		}
		return err
	})
	if err != nil {
		return root, err
	}
	if err := k.nothingElse(ctx, root, made, dockerfileAt(img)); err != nil {
		return root, err
	}
	return made.Platform(ociPlatform(k.platform)), nil
}

// inputs are what the frontend works on: the file, its context and the base.
func (k *child) inputs(ctx context.Context, root llb.State, text []byte) (map[string]*pb.Definition, error) {
	files := llb.Scratch()
	for _, name := range slices.Sorted(maps.Keys(k.context)) {
		to, ok := strings.CutPrefix(name, contextDir)
		if !ok {
			continue
		}
		f := k.context[name]
		files = files.File(llb.Mkdir(path.Dir("/"+to), 0o755, llb.WithParents(true), llb.WithCreatedTime(k.Lock.Timestamp)).
			Mkfile("/"+to, os.FileMode(f.Mode), f.Data, llb.WithCreatedTime(k.Lock.Timestamp)), llb.WithCustomName("context "+to))
	}
	all := map[string]*pb.Definition{}
	for name, st := range map[string]llb.State{
		"context":    files.File(llb.Mkdir("/", 0o755, llb.WithParents(true))),
		"dockerfile": llb.Scratch().File(llb.Mkfile("/Dockerfile", 0o644, text)),
		baseInput:    root,
	} {
		def, err := st.Marshal(ctx, llb.Platform(ociPlatform(k.platform)))
		if err != nil {
			return nil, err
		}
		all[name] = def.ToPB()
	}
	return all, nil
}

// frontend asks a frontend of the build service.
func (c *Client) frontend(ctx context.Context, k *child, req gateway.SolveRequest, take func(*gateway.Result) error) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	w := newWatch(c.Events, k.Job.Image.Name, factory.StepBuild)
	statuses, done := make(chan *client.SolveStatus, 64), make(chan struct{})
	go func() {
		defer close(done)
		for s := range statuses {
			w.see(s)
		}
	}()
	_, err = conn.Build(ctx, client.SolveOpt{Session: c.attachable()}, "", func(ctx context.Context, g gateway.Client) (*gateway.Result, error) {
		res, err := g.Solve(ctx, req)
		if err != nil {
			return nil, err
		}
		return gateway.NewResult(), take(res)
	}, statuses)
	<-done
	if err != nil && ctx.Err() == nil {
		return &factory.Problem{Kind: factory.ErrInvalid, What: k.Job.Image.Dockerfile + " of " + k.Job.Image.Name, Where: k.Job.Image.Where, Cause: err}
	}
	return err
}

// CheckDockerfile refuses, as ErrInvalid with its line, whatever in the Dockerfile of a child would come from elsewhere than from its
// parent and its own folder, or would not be kept. A build asks the same.
func CheckDockerfile(img factory.Image, text []byte) error {
	return checkDockerfile(text, img.From, dockerfileAt(img))
}

func dockerfileAt(img factory.Image) factory.Position {
	return factory.Position{File: path.Join("baseimages", img.Name, img.Dockerfile)}
}

func checkDockerfile(text []byte, parent string, at factory.Position) error {
	if ref, _, loc, ok := parser.DetectSyntax(text); ok {
		return foreign(line(at, loc), "syntax="+ref)
	}
	bad := func(err error) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "no Dockerfile", Where: at, Cause: err}
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return bad(err)
	}
	stages, _, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return bad(err)
	}
	known := []string{parent}
	for i, stage := range stages {
		if !slices.Contains(known, strings.ToLower(stage.BaseName)) && stage.BaseName != parent && stage.BaseName != "scratch" {
			return foreign(line(at, stage.Location), stage.BaseName)
		}
		known = append(known, strings.ToLower(stage.Name), fmt.Sprint(i))
		for _, cmd := range stage.Commands {
			if err := checkCommand(cmd, known, at); err != nil {
				return err
			}
		}
	}
	if last := stages[len(stages)-1]; !descends(stages, last, parent) {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "the last stage is not built on " + parent, Where: line(at, last.Location), Hint: "FROM " + parent}
	}
	return nil
}

// descends reports whether a stage ends in the parent.
func descends(stages []instructions.Stage, s instructions.Stage, parent string) bool {
	for range stages {
		if s.BaseName == parent {
			return true
		}
		i := slices.IndexFunc(stages, func(o instructions.Stage) bool { return o.Name != "" && strings.EqualFold(o.Name, s.BaseName) })
		if i < 0 {
			return false
		}
		s = stages[i]
	}
	return false
}

func checkCommand(cmd instructions.Command, known []string, at factory.Position) error {
	at = line(at, cmd.Location())
	from := func(name string) error {
		if name == "" || slices.Contains(known, strings.ToLower(name)) {
			return nil
		}
		return foreign(at, name)
	}
	switch cmd := cmd.(type) {
	case *instructions.CopyCommand:
		return from(cmd.From)
	case *instructions.AddCommand:
		for _, p := range cmd.SourcePaths {
			if strings.Contains(p, "://") || strings.HasPrefix(p, "git@") {
				return foreign(at, p)
			}
		}
	case *instructions.RunCommand:
		for _, flag := range cmd.FlagsUsed {
			if flag != "mount" {
				return &factory.Problem{Kind: factory.ErrInvalid, What: "RUN --" + flag + " is not possible here", Where: at, Hint: "remove it: commands run without network and without privileges"}
			}
		}
		for _, m := range instructions.GetMounts(cmd) {
			if err := from(m.From); err != nil {
				return err
			}
		}
	case *instructions.HealthCheckCommand:
		if cmd.Health.StartInterval != 0 {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "HEALTHCHECK --start-interval is not kept in an image of the factory", Where: at, Hint: "remove it: --interval holds from the start"}
		}
	case *instructions.OnbuildCommand:
		return &factory.Problem{Kind: factory.ErrInvalid, What: "ONBUILD is not kept in an image of the factory", Where: at, Hint: "write it into the Dockerfile of the child"}
	}
	return nil
}

func line(at factory.Position, where []parser.Range) factory.Position {
	if len(where) > 0 {
		at.Line = where[0].Start.Line
	}
	return at
}
