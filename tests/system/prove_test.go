package system_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/ansible"
	"github.com/imagefactory/imagefactory/factory/buildkit"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/openscap"
	"github.com/imagefactory/imagefactory/factory/upstream"
)

// uncorrected is a runner that leaves out one of the corrections which make oscap measure.
type uncorrected struct {
	openscap.Runner
	without string
}

func (u uncorrected) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	const name = "/.prove/request.json"
	if _, evaluates := s.Files[name]; !evaluates { // it reads the content
		return u.Runner.Run(ctx, s)
	}
	var request map[string]any
	if err := json.Unmarshal(s.Files[name].Data, &request); err != nil {
		return factory.StepResult{}, err
	}
	request["corrections"] = slices.DeleteFunc(request["corrections"].([]any), func(c any) bool { return c == u.without })
	for _, e := range request["evaluations"].([]any) { // the canary decides: the rest may be short
		if e := e.(map[string]any); e["rules"] == nil {
			e["rules"] = request["canary"].(map[string]any)["rules"]
		}
	}
	b, err := json.Marshal(request)
	if err != nil {
		return factory.StepResult{}, err
	}
	s.Files[name] = factory.File{Data: b}
	return u.Runner.Run(ctx, s)
}

// The proof finds the hardened images in order, finds what is planted into one, and refuses itself when it cannot see.
func TestProof(t *testing.T) {
	p := released(t)
	bk := workshop(t, p)
	var known knowledge
	for _, image := range images {
		t.Run(image, func(t *testing.T) {
			lock, _, err := definition.ReadLock(p.Dir, image)
			must(t, err)
			inputs, _, err := definition.Pack(p.Dir, imageOf(t, p, image))
			must(t, err)
			built, err := bk.Build(t.Context(), factory.Locked{Job: factory.Job{Image: imageOf(t, p, image)}, Lock: lock, Inputs: inputs})
			must(t, err)
			hardened, err := ansible.Hardener{Runner: bk, Now: now}.Harden(t.Context(), built)
			must(t, err)
			proven, err := openscap.Prover{Runner: bk}.Prove(t.Context(), hardened)
			must(t, err)
			meetsTheBar(t, image, proven.Compliance.Waive(imageOf(t, p, image).Waivers, factory.DateOf(now())))
			known.add(t, bk, hardened, proven)
			if image != images[0] {
				return // the toolbox is the same
			}
			findsWhatIsPlanted(t, bk, hardened)
			for off, says := range map[string]string{"device": "world_writable is pass", "proc": "root_path_dirs_no_write is pass", "mtab": "fsdev_init() failed"} {
				_, err := openscap.Prover{Runner: uncorrected{bk, off}}.Prove(t.Context(), hardened)
				if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), says) {
					t.Errorf("without the correction %s: %v", off, err)
				}
			}
		})
	}
	lintIsExplained(t, p, known)
}

// workshop is the build service with the shared installation's toolbox and cache.
func workshop(t *testing.T, p plant) *buildkit.Client {
	t.Helper()
	bin, err := driver()
	must(t, err)
	archives, err := upstream.HostArchives(os.DirFS("/"))
	must(t, err)
	ids := 0
	bk := &buildkit.Client{Archives: archives, Nonce: func() string { ids++; return fmt.Sprint(t.Name(), ids) },
		Daemon: &buildkit.Daemon{Beside: filepath.Dir(bin), Dir: filepath.Join(p.State, "buildkit")}}
	t.Cleanup(func() { must(t, bk.Close()) })
	lock, _, err := definition.ReadLock(p.Dir, "toolbox")
	must(t, err)
	layout, digest, err := upstream.Toolbox{Dir: filepath.Join(p.State, "toolbox"), Archives: archives}.Ensure(t.Context(), imageOf(t, p, "toolbox"), lock)
	must(t, err)
	must(t, bk.UseToolbox(layout, digest))
	return bk
}

// meetsTheBar demands no failure, nothing undecided, and that enough applied.
func meetsTheBar(t *testing.T, image string, c factory.Compliance) {
	t.Helper()
	for _, e := range c.Evaluations {
		s := e.Score()
		t.Logf("%s %s: %s, %.1f s", image, e.Name(), s, e.Seconds)
		least := map[factory.View]int{factory.ContainerView: 136, factory.ExtendedView: 58}[e.View]
		if s.Fail+s.Other > 0 || s.Applicable() < least {
			t.Errorf("%s %s: %s", image, e.Name(), s)
			for _, r := range e.Rules {
				if r.Result != factory.RulePass && r.Result != factory.RuleNotApplicable {
					t.Logf("%s %s (%s)", r.Result, r.Rule, r.Title)
				}
			}
		}
	}
	level2 := c.Find(factory.ContainerView, 2, factory.Platform{})
	if image == "debian-12" && (level2 == nil || level2.Score().String() != "138 of 138, 369 not applicable") {
		t.Errorf("debian-12 as a container at level 2: %+v", level2)
	}
}

// knowledge is what lint compares a profile with.
type knowledge struct {
	rules    []factory.RuleOutcome
	controls []factory.ControlOutcome
	proven   []factory.Compliance
}

func (k *knowledge) add(t *testing.T, bk *buildkit.Client, h factory.Hardened, proven factory.Proven) {
	t.Helper()
	img := h.Job.Image
	rules, err := openscap.Prover{Runner: bk}.Benchmark(t.Context(), img.Distro)
	must(t, err)
	k.rules = append(k.rules, rules...)
	k.controls = append(k.controls, h.Controls...)
	k.proven = append(k.proven, proven.Compliance.Waive(img.Waivers, factory.DateOf(now())))
}

// lintIsExplained demands that the profile and what is known of it agree, or that somebody wrote down why not.
func lintIsExplained(t *testing.T, p plant, k knowledge) {
	t.Helper()
	profile, err := definition.LoadProfile(p.Dir, imageOf(t, p, images[0]).Hardening.Profile)
	must(t, err)
	found := profile.Lint(k.rules, k.controls, k.proven)
	if len(found) == 0 {
		t.Error("lint saw nothing, not even what is explained")
	}
	for _, f := range found {
		if f.Explained == "" {
			t.Errorf("%s: %s", f.Where, f.Text)
		}
	}
}

// findsWhatIsPlanted plants a file that all can write into a hardened root, as a careless role would.
func findsWhatIsPlanted(t *testing.T, bk *buildkit.Client, h factory.Hardened) {
	t.Helper()
	res, err := bk.Run(t.Context(), factory.Step{Name: "plant", Root: h.Roots[0], Args: []string{"/bin/chmod", "0666", "/etc/issue"}})
	must(t, err)
	h.Roots = []factory.Root{res.Root}
	proven, err := openscap.Prover{Runner: bk}.Prove(t.Context(), h)
	must(t, err)
	var failed []string
	for _, r := range proven.Compliance.Find(factory.ContainerView, 1, factory.Platform{}).Rules {
		if r.Result == factory.RuleFail {
			failed = append(failed, r.Rule)
		}
	}
	if !slices.Equal(failed, []string{"file_permissions_etc_issue", "file_permissions_unauthorized_world_writable"}) {
		t.Errorf("a file that all can write was planted, and %q fail", failed)
	}
}
