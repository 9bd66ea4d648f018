package ansible_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/ansible"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func TestReplaced(t *testing.T) {
	t.Parallel()
	inputs, err := packed()
	if err != nil {
		t.Fatal(err)
	}
	motd := []factory.AddedFile{{Path: "/etc/motd", Source: "files/motd"}, {Path: "/srv/app", Source: "files/app"}}
	exempt := level2()
	exempt.Exempt = []factory.Exemption{{Control: "1.6.1", Until: day(t, "2026-11-23")}}
	for name, c := range map[string]struct {
		hardening factory.Hardening
		files     []factory.AddedFile
		today     string
		want      []string
	}{
		"a file of its own":   {level2(), motd, "2026-11-23", []string{"/etc/motd is replaced by hardening: control 1.6.1 "}},
		"its last day":        {exempt, motd, "2026-11-23", nil},
		"the day after":       {exempt, motd, "2026-11-24", []string{"/etc/motd is replaced"}},
		"no profile":          {factory.Hardening{}, motd, "2026-11-23", nil},
		"nothing of its own":  {level2(), nil, "2026-11-23", nil},
		"nothing is replaced": {level2(), motd[1:], "2026-11-23", nil},
	} {
		lost, err := ansible.Replaced(inputs, factory.Image{Name: "app", Hardening: c.hardening, Files: c.files}, day(t, c.today))
		if err != nil || !slices.EqualFunc(lost, c.want, func(p *factory.Problem, want string) bool { return strings.Contains(p.What, want) && p.Hint != "" }) {
			t.Errorf("%s: %v, %v", name, lost, err)
		}
	}
}

// What a control is not meant for it does not write.
func TestReplacedKnowsForWhomAControlIs(t *testing.T) {
	t.Parallel()
	const task = "- cis_controls: {controls: [{control: '1.1', ensure: [{mode: {paths: [/b]}}, {content: {path: /a, text: x}}]}]}\n"
	for about, want := range map[string]int{
		"level: 1, scope: [vm]":                     1,
		"level: 2, scope: [vm]":                     0,
		"level: 1, scope: [container]":              0,
		"level: 1, scope: [vm], releases: ['12']":   1,
		"level: 1, scope: [vm], releases: ['13']":   0,
		"level: 1, scope: [vm], releases: [12, 13]": 1,
	} {
		inputs := small(t, entry{name: "ansible/roles/r/tasks/main.yml", text: task},
			entry{name: "ansible/profiles/p.yaml", text: "profile: p\nroles: [r]\nplaybook: site.yml\ncontrols: [{id: \"1.1\", title: T, " + about + "}]\n"})
		img := factory.Image{Name: "app", Distro: factory.Distro{Family: "debian", Release: "12"}, Files: []factory.AddedFile{{Path: "/a"}, {Path: "/b"}},
			Hardening: factory.Hardening{Profile: "p", Level: 1, Scope: "vm"}}
		if lost, err := ansible.Replaced(inputs, img, factory.DateOf(time.Unix(0, 0))); err != nil || len(lost) != want {
			t.Errorf("%s: %v, %v", about, lost, err)
		}
	}
}

func TestReplacedReadsTheTasks(t *testing.T) {
	t.Parallel()
	img := factory.Image{Name: "app", Hardening: factory.Hardening{Profile: "p", Level: 1, Scope: "vm"}, Files: []factory.AddedFile{{Path: "/a"}}}
	for _, text := range []string{"- {", "no list\n"} {
		_, err := ansible.Replaced(small(t, entry{name: "ansible/roles/r/tasks/main.yml", text: text}), img, factory.DateOf(time.Unix(0, 0)))
		if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "ansible/roles/r/tasks/main.yml") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ansible.Replaced([]byte("no tar"), img, factory.DateOf(time.Unix(0, 0))); err == nil {
		t.Error("no error")
	}
}

// A build says it too, since nobody may have asked check.
func TestABuildWarnsOfWhatIsReplaced(t *testing.T) {
	t.Parallel()
	b := built(t, level2())
	b.Job.Image.Files = []factory.AddedFile{{Path: "/etc/motd"}}
	var said []string
	h := ansible.Hardener{Runner: played(t, 0, "applied.json"), Events: func(e factory.Event) {
		if e.Kind == factory.Warned {
			said = append(said, e.Message)
		}
	}}
	if _, err := h.Harden(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "/etc/motd is replaced by hardening") {
		t.Errorf("%q", said)
	}
}

// The tasks of every profile are read, and each writes a banner.
func TestEveryProfileTellsWhatItReplaces(t *testing.T) {
	t.Parallel()
	set, err := definition.Load(repository)
	if err != nil {
		t.Fatal(err)
	}
	profiles := map[string]bool{}
	for _, img := range set.Images {
		if img.Hardening.Profile == "" || len(img.Only) > 0 {
			continue
		}
		profiles[img.Hardening.Profile] = true
		inputs, _, err := definition.Pack(repository, img)
		if err != nil {
			t.Fatal(err)
		}
		img.Files = []factory.AddedFile{{Path: "/etc/motd"}}
		if lost, err := ansible.Replaced(inputs, img, day(t, "2026-11-23")); err != nil || len(lost) != 1 {
			t.Errorf("%s: %v, %v", img.Name, lost, err)
		}
	}
	if len(profiles) < 3 {
		t.Errorf("only %v", profiles)
	}
}
