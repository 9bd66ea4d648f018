package ansible

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	home = "ansible" // below the repository's root
	// maxFile bounds one file of the play, maxPlay all of them: a play is text that people wrote.
	maxFile = 1 << 20
	maxPlay = 8 << 20
)

// catalogue is as much of ansible/profiles/<name>.yaml as a run needs.
type catalogue struct {
	Profile  string    `yaml:"profile"`
	Roles    []string  `yaml:"roles"`
	Playbook string    `yaml:"playbook"`
	Controls []control `yaml:"controls"`
}

// control is one entry, with what the module cis_controls reads of it.
type control struct {
	ID       string   `yaml:"id" json:"id"`
	Title    string   `yaml:"title" json:"title"`
	Level    int      `yaml:"level" json:"level"`
	Scope    []string `yaml:"scope" json:"scope"`
	Releases []string `yaml:"releases" json:"releases,omitempty"`
}

// find returns the control with an id, nil when the catalogue has none.
func (c catalogue) find(id string) *control {
	i := slices.IndexFunc(c.Controls, func(k control) bool { return k.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Controls[i]
}

// play is what is mounted at /.play, and what it promises.
type play struct {
	catalogue catalogue
	files     map[string]factory.File // by absolute path in the step
	vars      map[string]bool         // names of the role variables that can be set
	absent    map[string]string       // controls that can have no effect in the image, and why
	cut       bool                    // the image may have no shell
}

// readPlay collects the profile's catalogue, its playbook and its roles out of a job's inputs, and nothing else.
func readPlay(inputs []byte, profile string) (play, error) {
	p := play{files: map[string]factory.File{}, vars: map[string]bool{}}
	packed, err := unpack(inputs)
	if err != nil {
		return p, err
	}
	file := path.Join(home, "profiles", profile+".yaml")
	data, ok := packed[file]
	if !ok {
		return p, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("no hardening profile %.60q", profile),
			Hint: "profiles are the files in ansible/profiles"}
	}
	if err := yaml.Unmarshal(data, &p.catalogue); err != nil {
		return p, &factory.Problem{Kind: factory.ErrInvalid, What: "profile", Where: factory.Position{File: file}, Cause: err}
	}
	c := p.catalogue
	if c.Profile != profile || len(c.Roles) == 0 || len(c.Controls) == 0 || !fs.ValidPath(c.Playbook) {
		return p, &factory.Problem{Kind: factory.ErrInvalid, Where: factory.Position{File: file},
			What: "profile lacks its name, roles, playbook or controls"}
	}
	wanted := []string{"ansible.cfg", "callback_plugins", c.Playbook, "profiles/" + profile + ".yaml"}
	for _, role := range c.Roles {
		wanted = append(wanted, "roles/"+role)
	}
	for _, name := range wanted {
		if !p.add(packed, path.Join(home, name)) {
			return p, &factory.Problem{Kind: factory.ErrInvalid, What: "the profile's play is incomplete", Where: factory.Position{File: path.Join(home, name)}}
		}
	}
	return p, p.readVars(c.Roles)
}

// unpack returns what the tar of a job's inputs holds below ansible/, by path.
func unpack(inputs []byte) (map[string][]byte, error) {
	packed, size := map[string][]byte{}, int64(0)
	for r := tar.NewReader(bytes.NewReader(inputs)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return packed, nil
		} else if err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "the job's inputs are no tar", Cause: err}
		}
		if !strings.HasPrefix(h.Name, home+"/") {
			continue
		}
		at := factory.Position{File: h.Name}
		if h.Typeflag != tar.TypeReg || path.Clean(h.Name) != h.Name {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "not a regular file", Where: at}
		}
		if size += h.Size; h.Size > maxFile || size > maxPlay {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "the play is too large", Where: at}
		}
		if packed[h.Name], err = io.ReadAll(r); err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "the job's inputs are cut off", Where: at, Cause: err}
		}
	}
}

// add takes a file, or all files of a folder, into the play. It returns false when there is none.
func (p play) add(packed map[string][]byte, name string) (found bool) {
	for file, data := range packed {
		if file == name || strings.HasPrefix(file, name+"/") {
			p.files[playDir+strings.TrimPrefix(file, home)] = factory.File{Data: data}
			found = true
		}
	}
	return found
}

// readVars finds out which variables the roles let a definition set: those that have a default.
func (p play) readVars(roles []string) error {
	for _, role := range roles {
		name := "/roles/" + role + "/defaults/main.yml"
		var defaults map[string]any
		if err := yaml.Unmarshal(p.files[playDir+name].Data, &defaults); err != nil {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "role defaults", Where: factory.Position{File: home + name}, Cause: err}
		}
		for key := range defaults {
			p.vars[key] = !strings.HasPrefix(key, "hardening_")
		}
	}
	return nil
}

// check refuses what the profile does not have, all of it at once, and returns a copy of the variables to set.
func (p play) check(h factory.Hardening) (map[string]any, error) {
	var errs []error
	bad := func(at factory.Position, hint, format string, args ...any) {
		errs = append(errs, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf(format, args...), Where: at, Hint: hint})
	}
	if h.Scope != "container" && h.Scope != "vm" {
		bad(factory.Position{}, "container or vm", "unknown hardening scope %.40q", h.Scope)
	}
	if h.Level != 1 && h.Level != 2 {
		bad(factory.Position{}, "1 or 2", "unknown hardening level %d", h.Level)
	}
	for _, e := range h.Exempt {
		if p.catalogue.find(e.Control) == nil {
			bad(e.Where, "its controls are in ansible/profiles/"+p.catalogue.Profile+".yaml", "profile %s has no control %.40q", p.catalogue.Profile, e.Control)
		}
	}
	vars := map[string]any{}
	for key, value := range h.Vars {
		if !p.vars[key] {
			bad(factory.Position{}, "variables are in the defaults of the profile's roles", "profile %s has no variable %.60q", p.catalogue.Profile, key)
		}
		vars[key] = value
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return vars, errors.Join(errs...)
}
