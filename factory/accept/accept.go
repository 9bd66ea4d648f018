// Package accept runs an image's acceptance tests in the image that was built.
//
// Rules: all tests run, and each has a result with a name that a person understands; a small script in the image collects
// facts and this package judges them; a fact that is missing is a failed test; what the image's own programs do
// cannot change a result but their own. Setuid tests look at files; a folder with the setgid bit grants nothing.
package accept

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

//go:embed accept.py
var script []byte

// Where the script finds things in the image. None of it stays there.
const (
	folder     = "/.accept"
	output     = "/.out"
	resultFile = "results.json"
)

// skipped are folders that are not the image's.
var skipped = []string{"/proc", "/sys", "/dev", factory.ToolboxMount, folder, output}

// Runner runs a step in the build service.
type Runner interface {
	Run(ctx context.Context, step factory.Step) (factory.StepResult, error)
}

// Opener makes one platform of an image that was built a root in which steps can run.
type Opener interface {
	Open(ctx context.Context, a factory.Artifact, p factory.Platform) (factory.Root, error)
}

// Tester runs acceptance tests. Runner and Opener are required.
type Tester struct {
	Runner Runner
	Opener Opener
	Events factory.Events // one warning for each test that does not hold
}

// Test runs all tests on all platforms. Results are in the order of platforms and definition. When a test does not hold the
// error is a Problem of kind ErrBlocked that names it, and the results are complete all the same; any other error means that
// the tests could not be run.
func (t Tester) Test(ctx context.Context, packed factory.Packed) (factory.Tested, error) {
	image := packed.Job.Image
	tested := factory.Tested{Packed: packed}
	var broken []failure
	for _, p := range packed.Artifact.Platforms {
		found, err := t.look(ctx, packed, p.Platform)
		if err != nil {
			return tested, fmt.Errorf("test %s %s: %w", image.Name, p.Platform, err)
		}
		image.Config = packed.Config(p.Platform)
		for _, c := range checks(image) {
			result := c.result(found)
			result.Platform = p.Platform
			tested.Results = append(tested.Results, result)
			if !result.Passed {
				broken = append(broken, failure{result, c.where})
				t.Events.Emit(factory.Event{Kind: factory.Warned, Image: image.Name, Step: factory.StepTest, Message: line(result)})
			}
		}
	}
	return tested, blocked(image, broken, len(tested.Results))
}

// look collects the facts of one platform. Facts that a script could not deliver are no error.
func (t Tester) look(ctx context.Context, packed factory.Packed, p factory.Platform) (facts, error) {
	image := packed.Job.Image
	image.Config = packed.Config(p)
	root, err := t.Opener.Open(ctx, packed.Artifact, p)
	if err != nil {
		return facts{}, err
	}
	asked := ask(image)
	request, err := json.Marshal(asked)
	if err != nil {
		return facts{}, err
	}
	files := map[string]factory.File{
		folder + "/accept.py":  {Mode: 0o444, Data: script},
		folder + "/tests.json": {Mode: 0o400, Data: request},
	}
	if asked.RPM != nil {
		files[folder+"/rpmdb.py"] = factory.File{Mode: 0o444, Data: rpmScript}
	}
	result, err := t.Runner.Run(ctx, factory.Step{
		Name:  fmt.Sprintf("test %s %s", image.Name, p),
		Image: image.Name, Step: factory.StepTest,
		Root:    root,
		Args:    factory.ToolboxPython(folder+"/accept.py", folder+"/tests.json", output+"/"+resultFile),
		Env:     []string{"PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1"},
		Files:   files,
		Toolbox: true,
		Output:  output,
		Fresh:   packed.Fresh != "",
	})
	if err != nil {
		return facts{}, err
	}
	return decode(result), nil
}

// request is what the script is asked.
type request struct {
	User     string       `json:"user"`
	Env      []string     `json:"env"`
	Workdir  string       `json:"workdir"`
	Commands []commandAsk `json:"commands"`
	Files    []fileAsk    `json:"files"`
	Read     []string     `json:"read"`
	Skip     []string     `json:"skip"`
	RPM      *rpmAsk      `json:"rpm,omitempty"`
}

type commandAsk struct {
	Run     []string `json:"run"`
	User    string   `json:"user"`
	Timeout int      `json:"timeout"` // seconds
}

type fileAsk struct {
	Path     string `json:"path"`
	Contains string `json:"contains"`
}

func ask(image factory.Image) request {
	r := request{
		User: image.Config.User, Env: append([]string{}, image.Config.Env...), Workdir: image.Config.Workdir,
		Commands: []commandAsk{}, Files: []fileAsk{}, Read: []string{passwdFile, groupFile}, Skip: skipped,
	}
	if db, ok := databases[image.Distro.Format()]; ok {
		db.ask(&r)
	}
	for _, c := range image.Tests.Commands {
		r.Commands = append(r.Commands, commandAsk{Run: c.Run, User: c.User, Timeout: timeout(c)})
	}
	for _, f := range image.Tests.Files {
		r.Files = append(r.Files, fileAsk{Path: f.Path, Contains: f.Contains})
	}
	return r
}

func timeout(c factory.CommandTest) int { return cmp.Or(max(c.Timeout, 0), 30) }

type failure struct {
	factory.TestResult
	where factory.Position
}

func line(r factory.TestResult) string {
	return fmt.Sprintf("%s (%s): %s", r.Name, r.Platform, r.Detail)
}

// blocked is nil when nothing broke.
func blocked(image factory.Image, broken []failure, all int) error {
	if len(broken) == 0 {
		return nil
	}
	const most = 10
	var lines []string
	for _, f := range broken[:min(len(broken), most)] {
		lines = append(lines, line(f.TestResult))
	}
	if more := len(broken) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	p := &factory.Problem{
		Kind: factory.ErrBlocked,
		What: fmt.Sprintf("%s: %d of %d acceptance tests do not hold: %s", image.Name, len(broken), all, strings.Join(lines, "; ")),
		Hint: "change the definition, or the tests when the image is right",
	}
	if i := slices.IndexFunc(broken, func(f failure) bool { return f.where.File != "" }); i >= 0 {
		p.Where = broken[i].where
	}
	return p
}
