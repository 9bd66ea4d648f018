package ansible

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/imagefactory/imagefactory/factory"
)

// Replaced warns of each file that an image puts into itself (files:) and that a control of its profile writes anew: hardening comes
// after files:, so what the image says is lost. Inputs are what a job of that image has.
// The error is ErrInvalid when the profile cannot be read.
func Replaced(inputs []byte, img factory.Image, day factory.Date) ([]*factory.Problem, error) {
	if img.Hardening.Profile == "" || len(img.Files) == 0 {
		return nil, nil
	}
	p, err := readPlay(inputs, img.Hardening.Profile)
	if err != nil {
		return nil, err
	}
	return p.replaced(img, active(exemptionsOn(img, day)))
}

// replaced is Replaced with the controls that are exempt today.
func (p play) replaced(img factory.Image, exempt []string) (all []*factory.Problem, err error) {
	if len(img.Files) == 0 {
		return nil, nil
	}
	writers, err := p.writers()
	if err != nil {
		return nil, err
	}
	for _, f := range img.Files {
		for _, id := range writers[f.Path] {
			k := p.catalogue.find(id)
			if k == nil || slices.Contains(exempt, id) || k.Level > img.Hardening.Level || !slices.Contains(k.Scope, img.Hardening.Scope) ||
				len(k.Releases) > 0 && !slices.Contains(k.Releases, img.Distro.Release) {
				continue
			}
			all = append(all, &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where,
				What: fmt.Sprintf("files: %s is replaced by hardening: control %s (%s) writes it anew", f.Path, id, k.Title),
				Hint: fmt.Sprintf("exempt control %s under hardening: to keep yours, or leave the file out", id)})
		}
	}
	return all, nil
}

// tasks is as much of a role's file of tasks as tells which files its controls write whole.
type tasks []struct {
	CIS struct {
		Controls []struct {
			Control string `yaml:"control"`
			Ensure  []struct {
				Content struct {
					Path string `yaml:"path"`
				} `yaml:"content"`
			} `yaml:"ensure"`
		} `yaml:"controls"`
	} `yaml:"cis_controls"`
}

// writers are the controls that write a whole file, by its path.
func (p play) writers() (map[string][]string, error) {
	by := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if !strings.Contains(name, "/tasks/") || !strings.HasSuffix(name, ".yml") {
			continue
		}
		var list tasks
		if err := yaml.Unmarshal(p.files[name].Data, &list); err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "the role's tasks", Where: factory.Position{File: home + strings.TrimPrefix(name, playDir)}, Cause: err}
		}
		for _, t := range list {
			for _, k := range t.CIS.Controls {
				for _, e := range k.Ensure {
					if to := e.Content.Path; to != "" {
						by[to] = append(by[to], k.Control)
					}
				}
			}
		}
	}
	return by, nil
}
