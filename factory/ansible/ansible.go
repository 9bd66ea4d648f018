// Package ansible turns a hardening profile into a run of Ansible against an image's root filesystem, and its result
// into one outcome for every control of the profile.
//
// Rules: the play is the one in the job's packed inputs, so that what runs is what was locked; it runs as a build step with the toolbox at /.toolbox and the play at /.play, both read-only and both gone
// afterwards; whatever Ansible itself writes goes to a tmpfs. The play is asked once for each platform, and answers for
// every control of the catalogue exactly once, or the run does not count. An exemption past its last day does not exist.
package ansible

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Where things are while the play runs.
const (
	playDir   = "/.play"
	outputDir = "/.out"
	python    = playDir + "/bin/python3"
	results   = "outcomes.json"
	// plugins are ours, not the play's: they change how fast it runs, not what it does.
	plugins = playDir + "/bin/action"
)

// inProcess is Ansible's action plugin for the module cis_controls.
//
//go:embed plugins/cis_controls.py
var inProcess []byte

// Runner runs a step in a root filesystem.
type Runner interface {
	Run(ctx context.Context, s factory.Step) (factory.StepResult, error)
}

// Hardener applies an image's hardening profile to its root filesystems.
type Hardener struct {
	Runner Runner
	// Now decides which exemptions are over. It is required when an image has exemptions.
	Now    func() time.Time
	Events factory.Events
	// Check reports what would change and changes nothing: the roots come back as they were.
	Check bool
}

// Harden runs the profile of b's image, as b.Inputs holds it, on each of its roots. An image without a profile passes untouched. The error is
// ErrInvalid when the definition asks for what the profile does not have, and ErrBlocked when a control failed; one
// Problem for each control, with the task's place in the repository.
func (h Hardener) Harden(ctx context.Context, b factory.Built) (factory.Hardened, error) {
	img := b.Job.Image
	out := factory.Hardened{Built: b}
	if img.Hardening.Profile == "" {
		return out, nil
	}
	play, err := readPlay(b.Inputs, img.Hardening.Profile)
	if err != nil {
		return out, fmt.Errorf("harden %s: %w", img.Name, err)
	}
	wanted, err := play.check(img.Hardening)
	if err != nil {
		return out, fmt.Errorf("harden %s: %w", img.Name, err)
	}
	exempt := h.exemptions(img)
	play.absent, play.cut = absent(play.catalogue, img, b.Lock), cutOut(img, b.Lock)
	lost, err := play.replaced(img, active(exempt))
	if err != nil {
		return out, fmt.Errorf("harden %s: %w", img.Name, err)
	}
	for _, p := range lost {
		h.Events.Emit(factory.Event{Kind: factory.Warned, Image: img.Name, Step: factory.StepHarden, Message: p.What + ": " + p.Hint})
	}
	step, err := h.step(img, play, wanted, exempt)
	if err != nil {
		return out, fmt.Errorf("harden %s: %w", img.Name, err)
	}

	out.Roots = make([]factory.Root, len(b.Roots))
	for i, root := range b.Roots {
		step.Name = fmt.Sprintf("harden %s %s", img.Name, root.Platform)
		step.Image, step.Step, step.Root = img.Name, factory.StepHarden, root
		step.Files = maps.Clone(play.files)
		controls, after, err := h.run(ctx, step, play, exempt)
		if err != nil {
			return out, fmt.Errorf("%s: %w", step.Name, err)
		}
		out.Roots[i] = after
		out.Controls = append(out.Controls, controls...)
		h.Events.Emit(factory.Event{Kind: factory.Noted, Image: img.Name, Step: factory.StepHarden,
			Message: fmt.Sprintf("%s: %s", root.Platform, summary(controls))})
	}
	sortOutcomes(out.Controls)
	return out, nil
}

// run runs the play on one root and reads what came of it.
func (h Hardener) run(ctx context.Context, step factory.Step, p play, exempt map[string]exemption) ([]factory.ControlOutcome, factory.Root, error) {
	res, err := h.Runner.Run(ctx, step)
	if err != nil {
		return nil, factory.Root{}, err
	}
	rep, err := parseReport(res.Output[results])
	if res.Exit != 0 || (err == nil && rep.failed()) {
		return nil, factory.Root{}, blocked(rep, res)
	}
	if err != nil {
		return nil, factory.Root{}, errors.Join(err, said(res))
	}
	controls, err := outcomes(p.catalogue, rep, exempt, p.absent, step.Root.Platform)
	if err != nil {
		return nil, factory.Root{}, err
	}
	if h.Check {
		return controls, step.Root, nil
	}
	return controls, res.Root, nil
}

// step is the command that is the same on every platform.
func (h Hardener) step(img factory.Image, p play, vars map[string]any, exempt map[string]exemption) (factory.Step, error) {
	vars["hardening_profile"] = p.catalogue.Profile
	vars["hardening_scope"] = img.Hardening.Scope
	vars["hardening_level"] = img.Hardening.Level
	vars["hardening_exempt"] = leftAlone(exempt, p.absent)
	vars["ansible_python_interpreter"] = python
	// Read once, here; the roles' own default would have Ansible parse the file again in every task.
	vars["hardening_catalogue"] = map[string]any{"controls": p.catalogue.Controls}
	data, err := json.MarshalIndent(vars, "", " ")
	if err != nil {
		return factory.Step{}, &factory.Problem{Kind: factory.ErrInvalid, What: "hardening.vars", Where: img.Where, Cause: err}
	}
	p.files[playDir+"/vars.json"] = factory.File{Data: data}
	// Modules are started by this name, in the target: through the toolbox's loader, so that nothing of the target is used.
	p.files[python] = factory.File{Mode: 0o755,
		Data: []byte("#!/bin/sh\nexec " + strings.Join(factory.ToolboxPython(), " ") + " \"$@\"\n")}

	p.files[plugins+"/cis_controls.py"] = factory.File{Data: inProcess}

	args := []string{factory.ToolboxMount + "/usr/bin/ansible-playbook", "-i", "localhost,", "-c", "local",
		"-e", "@" + playDir + "/vars.json"}
	if h.Check {
		args = append(args, "--check")
	}
	return factory.Step{
		Args:    factory.ToolboxPython(append(args, path.Join(playDir, p.catalogue.Playbook))...),
		Env:     environment(),
		Toolbox: true,
		Shell:   p.cut, // what is cut out of an image may have none
		Tmpfs:   []string{"/tmp", "/run"},
		Output:  outputDir,
	}, nil
}

// environment keeps all that Ansible writes on the tmpfs. PYTHONHOME and LD_LIBRARY_PATH are left alone: programs of the
// target would see them. Locales and RPM's own configuration are the toolbox's, because a target may have none or another form.
func environment() []string {
	const tmp = "/tmp/.ansible"
	return []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp", "TMPDIR=/tmp", "LC_ALL=C.UTF-8", "LOCPATH=" + factory.ToolboxMount + "/usr/lib/locale",
		"RPM_CONFIGDIR=" + factory.ToolboxMount + "/usr/lib/rpm",
		"PYTHONDONTWRITEBYTECODE=1", "CRYPTOGRAPHY_OPENSSL_NO_LEGACY=1",
		"ANSIBLE_CONFIG=" + playDir + "/ansible.cfg",
		"ANSIBLE_HOME=" + tmp, "ANSIBLE_LOCAL_TEMP=" + tmp + "/local", "ANSIBLE_REMOTE_TEMP=" + tmp + "/remote",
		"ANSIBLE_ACTION_PLUGINS=" + plugins, "ANSIBLE_PIPELINING=1", "ANSIBLE_NOCOLOR=1", "ANSIBLE_DEPRECATION_WARNINGS=0",
		"FACTORY_OUTCOMES=" + outputDir + "/" + results,
	}
}
