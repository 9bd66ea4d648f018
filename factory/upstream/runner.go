package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/proc"
)

// Runner runs a step: in the build service, or on this machine ([Host]).
type Runner interface {
	Run(ctx context.Context, s factory.Step) (factory.StepResult, error)
}

// Host runs steps as programs of this machine, for the time before there is a toolbox. The step's files, copies of its secrets,
// temporary and output folders lie in a private folder that is gone afterwards; arguments that name them are translated, so a program
// must take all its paths from its arguments. The zero value is ready to use.
type Host struct {
	Dir string   // where private folders are made; empty = the system's folder for temporary files
	Env []string // KEY=value beyond the step's own, such as [Proxies]; the environment of this process is not passed on
}

// Run runs s.Args. A step that needs a root filesystem or the toolbox is ErrInvalid.
func (h Host) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	if len(s.Root.State) > 0 || s.Toolbox || s.User != "" || len(s.Args) == 0 {
		return factory.StepResult{}, &factory.Problem{Kind: factory.ErrInvalid, What: s.Name + " cannot run on this machine itself"}
	}
	dir, err := os.MkdirTemp(h.Dir, "factory-")
	if err != nil {
		return factory.StepResult{}, err
	}
	defer os.RemoveAll(dir)
	owned, err := materialise(dir, s)
	if err == nil {
		err = confide(dir, s.Secrets, &owned)
	}
	if err != nil {
		return factory.StepResult{}, fmt.Errorf("%s: %w", s.Name, err)
	}
	args := slices.Clone(s.Args)
	for i, a := range args[1:] {
		if slices.ContainsFunc(owned, func(o string) bool { return a == o || strings.HasPrefix(a, o+"/") }) {
			args[i+1] = filepath.Join(dir, a)
		}
	}
	var stdout, stderr bytes.Buffer
	ended, err := proc.Command{
		Args: args, Dir: dir, Stdout: &stdout, Stderr: &stderr,
		Env: slices.Concat(hostEnv, []string{"HOME=" + dir, "TMPDIR=" + dir}, h.Env, s.Env),
	}.Run(ctx)
	var exit *proc.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Cause != nil) {
		return factory.StepResult{}, fmt.Errorf("%s: %w", s.Name, err)
	}
	res := factory.StepResult{Exit: ended.Exit, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
	if s.Output != "" {
		res.Output, err = collect(filepath.Join(dir, s.Output))
	}
	return res, err
}

// hostEnv is all that programs of this machine get of an environment: the factory's own holds secrets.
var hostEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}

// Proxies returns what an environment says about proxies, for [Host].
func Proxies(environ []string) (all []string) {
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains([]string{"http_proxy", "https_proxy", "no_proxy"}, strings.ToLower(name)) {
			all = append(all, kv)
		}
	}
	return all
}

// materialise lays out a step's files and folders below dir and returns the paths that arguments may name.
func materialise(dir string, s factory.Step) (owned []string, err error) {
	for name, f := range s.Files {
		if !filepath.IsAbs(name) || filepath.Clean(name) != name {
			return nil, fmt.Errorf("%q is not an absolute path", name)
		}
		real := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
			return nil, err
		}
		mode := fs.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		if err := os.WriteFile(real, f.Data, mode); err != nil {
			return nil, err
		}
		first, _, _ := strings.Cut(name[1:], "/")
		owned = append(owned, "/"+first)
	}
	folders := slices.Clone(s.Tmpfs)
	if s.Output != "" {
		folders = append(folders, s.Output)
	}
	for _, name := range folders {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	return append(owned, folders...), nil
}

// confide copies a step's secrets to where only this user can read them.
func confide(dir string, secrets map[string]string, owned *[]string) error {
	for name, file := range secrets {
		if !filepath.IsAbs(name) || filepath.Clean(name) != name {
			return fmt.Errorf("%q is not an absolute path", name)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		real := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(real), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(real, b, 0o600); err != nil {
			return err
		}
		first, _, _ := strings.Cut(name[1:], "/")
		*owned = append(*owned, "/"+first)
	}
	return nil
}

func collect(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		out[filepath.ToSlash(rel)] = b
		return err
	})
	return out, err
}
