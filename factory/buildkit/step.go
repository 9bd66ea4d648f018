package buildkit

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"

	"github.com/imagefactory/imagefactory/factory"
)

// runScript runs a command, keeps its output and exit code next to its results, and always exits 0 itself: BuildKit
// gives back nothing of a command that failed.
//
//go:embed scripts/run.py
var runScript []byte

const (
	ownDir  = "/.factory" // our scripts, while a step runs
	metaDir = ".factory"  // exit code and output, inside Step.Output
)

// Run executes one step. See factory.Step. A step with Output needs the toolbox, mounted or as its root.
func (c *Client) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	fresh := ""
	if s.Fresh {
		fresh = c.Nonce()
	}
	res, err := c.run(ctx, s, fresh)
	if err == nil && res.Exit != 0 && res.Cached {
		// A failure is never taken from a cache: its cause may be gone.
		return c.run(ctx, s, c.Nonce())
	}
	return res, err
}

func (c *Client) run(ctx context.Context, s factory.Step, fresh string) (factory.StepResult, error) {
	exec, err := c.exec(ctx, s, fresh)
	if err != nil {
		return factory.StepResult{}, fmt.Errorf("%s: %w", s.Name, err)
	}
	w := newWatch(c.Events, s.Image, s.Step)
	res := factory.StepResult{}
	platform := llb.Platform(ociPlatform(s.Root.Platform))
	if s.Output == "" {
		def, err := exec.Root().Marshal(ctx, platform)
		if err != nil {
			return res, fmt.Errorf("%s: %w", s.Name, err)
		}
		err = c.solve(ctx, def, w)
		var exit *stepError
		if errors.As(err, &exit) {
			res.Exit = exit.exit
		} else if err != nil {
			return res, fmt.Errorf("%s: %w", s.Name, err)
		}
		if o := w.out[s.Name]; o != nil {
			res.Stdout, res.Stderr = o.stdout.b, o.stderr.b
		}
	} else if err := c.collect(ctx, exec, s, w, &res, platform); err != nil {
		return res, fmt.Errorf("%s: %w", s.Name, err)
	}
	res.Cached = w.cached[s.Name]
	if s.InToolbox {
		res.Root = s.Root
		return res, nil
	}
	res.Root, err = marshal(ctx, exec.Root(), s.Root.Platform)
	return res, err
}

// exec describes the step.
func (c *Client) exec(ctx context.Context, s factory.Step, fresh string) (llb.ExecState, error) {
	root, mounts, err := c.roots(s)
	if err != nil {
		return llb.ExecState{}, err
	}
	args := s.Args
	files := maps.Clone(s.Files)
	if files == nil {
		files = map[string]factory.File{}
	}
	if s.Output != "" {
		files[ownDir+"/run.py"] = factory.File{Data: runScript}
		python := []string{"/usr/bin/python3", "-s"}
		if s.Toolbox {
			python = factory.ToolboxPython()
		}
		args = slices.Concat(python, []string{ownDir + "/run.py", s.Output}, args)
	}
	if fresh != "" {
		files[ownDir+"/nonce"] = factory.File{Data: []byte(fresh)}
	}
	opts := []llb.RunOption{llb.Args(args), llb.Dir(cmp.Or(s.Dir, "/")), llb.WithCustomName(s.Name)}
	if !s.Network {
		opts = append(opts, llb.Network(llb.NetModeNone))
	}
	if s.User != "" {
		opts = append(opts, llb.User(s.User))
	}
	for _, e := range s.Env {
		k, v, _ := strings.Cut(e, "=")
		opts = append(opts, llb.AddEnv(k, v))
	}
	for _, t := range s.Tmpfs {
		opts = append(opts, llb.AddMount(t, llb.Scratch(), llb.Tmpfs()))
	}
	secrets, err := c.stepSecrets(s)
	if err != nil {
		return llb.ExecState{}, err
	}
	opts = append(opts, secrets...)
	opts = append(opts, mountFiles(files)...)
	opts = append(opts, mounts...)
	if s.Output != "" {
		opts = append(opts, llb.AddMount(s.Output, llb.Scratch()))
	}
	return root.Run(opts...), nil
}

// roots returns the filesystem that the command sees, and the other one, of root and toolbox, as its mount.
func (c *Client) roots(s factory.Step) (root llb.State, mounts []llb.RunOption, err error) {
	if (s.Toolbox || s.Shell) && s.InToolbox {
		return root, nil, errors.New("a step is in the toolbox or has it mounted, not both")
	}
	if root, err = unmarshal(s.Root); err != nil || !s.Toolbox && !s.Shell && !s.InToolbox {
		return root, nil, err
	}
	box, err := c.Toolbox()
	if err != nil {
		return root, nil, err
	}
	st, err := unmarshal(box)
	if err != nil {
		return root, nil, err
	}
	if s.InToolbox { // what is written to a mount that nobody asks for is thrown away
		return st, []llb.RunOption{llb.AddMount(factory.TargetMount, root)}, nil
	}
	if s.Shell {
		lent := factory.ToolboxShell()
		for _, at := range slices.Sorted(maps.Keys(lent)) {
			mounts = append(mounts, llb.AddMount(at, st, llb.SourcePath(lent[at]), llb.Readonly))
		}
	}
	if s.Toolbox {
		mounts = append(mounts, llb.AddMount(factory.ToolboxMount, st, llb.Readonly))
	}
	return root, mounts, nil
}

// mountFiles mounts files read-only, one small state per top-level directory: their content is part of the definition,
// so it is content-addressed without any session.
func mountFiles(files map[string]factory.File) (opts []llb.RunOption) {
	actions := map[string]*llb.FileAction{}
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		top := "/" + strings.SplitN(strings.TrimPrefix(name, "/"), "/", 2)[0]
		rel := strings.TrimPrefix(name, top)
		if dir := path.Dir(rel); dir != "/" && !made[top+dir] {
			made[top+dir] = true
			actions[top] = then(actions[top]).Mkdir(dir, 0o755, llb.WithParents(true))
		}
		actions[top] = then(actions[top]).Mkfile(rel, os.FileMode(cmp.Or(f.Mode, 0o644)), f.Data)
	}
	for _, top := range slices.Sorted(maps.Keys(actions)) {
		st := llb.Scratch().File(actions[top], llb.WithCustomName("prepare "+top))
		opts = append(opts, llb.AddMount(top, st, llb.Readonly))
	}
	return opts
}

// then continues a chain of file actions, or begins one.
func then(a *llb.FileAction) *llb.FileAction {
	if a == nil {
		return llb.Mkdir("/", 0o755, llb.WithParents(true))
	}
	return a
}

// wanted is what a solve brings back of a step: its output. Where the root goes on, it is asked for too, by a copy of nothing:
// BuildKit keeps only those results of a step that somebody asked for, and would run the step once more for the others.
func wanted(exec llb.ExecState, s factory.Step) llb.State {
	output := exec.GetMount(s.Output)
	if s.InToolbox {
		return output
	}
	nothing := &llb.CopyInfo{AllowWildcard: true, AllowEmptyWildcard: true}
	return llb.Scratch().File(llb.Copy(output, "/", "/", &llb.CopyInfo{CopyDirContentsOnly: true}).Copy(exec.Root(), ownDir+"-nothing*", "/", nothing),
		llb.WithCustomName("results of "+s.Name))
}

// collect runs the step and brings back what it wrote to its output mount.
func (c *Client) collect(ctx context.Context, exec llb.ExecState, s factory.Step, w *watch, res *factory.StepResult, platform llb.ConstraintsOpt) error {
	def, err := wanted(exec, s).Marshal(ctx, platform)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "factory-step-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := c.solve(ctx, def, w, client.ExportEntry{Type: client.ExporterLocal, OutputDir: dir}); err != nil {
		return err
	}
	res.Output = map[string][]byte{}
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		res.Output[filepath.ToSlash(rel)] = b
		return err
	})
	if err != nil {
		return err
	}
	res.Exit, err = strconv.Atoi(string(res.Output[metaDir+"/exit"]))
	if err != nil {
		return errors.New("the step left no exit code")
	}
	res.Stdout, res.Stderr = res.Output[metaDir+"/stdout"], res.Output[metaDir+"/stderr"]
	for _, name := range []string{"exit", "stdout", "stderr"} {
		delete(res.Output, metaDir+"/"+name)
	}
	return nil
}
