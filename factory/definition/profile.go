package definition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	ansibleDir  = "ansible"
	profilesDir = ansibleDir + "/profiles"
	rolesDir    = ansibleDir + "/roles"
)

// Profile is a benchmark as the factory's roles apply it: ansible/profiles/<name>.yaml.
type Profile struct {
	Name      string
	Benchmark string   // and its version
	Roles     []string // in the order in which they run; at least one
	Playbook  string   // file in ansible/
	Controls  []Control
	Where     factory.Position
}

// Control is one control of a benchmark.
type Control struct {
	ID       string
	Title    string
	Level    int      // 1 or 2: the lowest level that asks for it
	Scope    []string // container, vm or both: where it can have an effect
	Releases []string // of the distribution; empty means all
	Reason   string
	// Explained answers what Profile.Lint would say of it; empty = nothing to explain.
	Explained string
	Where     factory.Position
}

// In reports whether the control is asked for and can have an effect in a scope, on a release, at a level.
func (c Control) In(scope, release string, level int) bool {
	return c.Level <= level && slices.Contains(c.Scope, scope) && (len(c.Releases) == 0 || slices.Contains(c.Releases, release))
}

// Control returns a control by its id.
func (p Profile) Control(id string) (Control, bool) {
	for _, c := range p.Controls {
		if c.ID == id {
			return c, true
		}
	}
	return Control{}, false
}

func (p Profile) ids() (all []string) {
	for _, c := range p.Controls {
		all = append(all, c.ID)
	}
	return all
}

// LoadProfile reads one profile of the repository in dir. An unknown name is ErrNotFound with the nearest one as the
// hint; otherwise the error joins every problem in the file.
func LoadProfile(dir, name string) (Profile, error) {
	t, err := openTree(dir)
	if err != nil {
		return Profile{}, err
	}
	defer t.close()
	l := &loader{tree: t, profiles: map[string]*Profile{}}
	p := l.profile(name, factory.Position{})
	if p == nil {
		return Profile{}, l.problems.err()
	}
	return *p, nil
}

// profile returns a profile that is in order, or nil. What is wrong in the file is told once, for all who use it.
func (l *loader) profile(name string, at factory.Position) *Profile {
	file := path.Join(profilesDir, name+".yaml")
	if p, done := l.profiles[name]; done {
		if p == nil {
			l.problems.add(at, "mend that file first", "profile %s cannot be used", name)
		}
		return p
	}
	_, err := l.tree.stat(file)
	if _, valid := rules["profile"].ok(name); !valid || errors.Is(err, fs.ErrNotExist) {
		l.problems = append(l.problems, &factory.Problem{Kind: unknown(at), Where: at, What: fmt.Sprintf("no profile %.80q in %s", name, profilesDir), Hint: nearest(name, l.profileNames())})
		return nil
	}
	l.profiles[name] = nil
	n := l.parse(file)
	if n == nil {
		return nil
	}
	var f profileFile
	before := len(l.problems)
	l.decode(n, &f, false)
	l.checkProfile(name, f)
	if len(l.problems) > before {
		return nil
	}
	p := &Profile{Name: name, Benchmark: f.Benchmark.Value, Roles: plain(f.Roles), Playbook: f.Playbook.Value, Where: f.Where}
	for _, c := range f.Controls {
		p.Controls = append(p.Controls, Control{ID: c.ID.Value, Title: c.Title.Value, Level: c.Level.Value, Scope: sorted(c.Scope), Releases: sorted(c.Releases), Reason: c.Reason.Value, Explained: c.Explained.Value, Where: c.Where})
	}
	l.profiles[name] = p
	return p
}

// unknown is the kind of an unknown name: somebody asked for it, or a file says it.
func unknown(at factory.Position) error {
	if at.File == "" {
		return factory.ErrNotFound
	}
	return factory.ErrInvalid
}

func (l *loader) profileNames() (names []string) {
	entries, _ := l.tree.list(profilesDir)
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			names = append(names, name)
		}
	}
	return names
}

func (l *loader) checkProfile(name string, f profileFile) {
	if f.Profile.Value != "" && f.Profile.Value != name {
		l.problems.add(f.Profile.At, "write "+name, "profile: expected the file's own name, found %s", f.Profile.Value)
	}
	seen := map[string]text{}
	for _, c := range f.Controls {
		if first, twice := seen[c.ID.Value]; twice && c.ID.Value != "" {
			l.problems.add(c.ID.At, "keep one of them", "controls: %s is there twice, first in line %d", c.ID.Value, first.At.Line)
		}
		seen[c.ID.Value] = c.ID
	}
	var roles []string
	entries, err := l.tree.list(rolesDir)
	l.problems.join(err)
	for _, e := range entries {
		roles = append(roles, e.Name())
	}
	for _, r := range f.Roles {
		if r.Value == "" {
			continue
		}
		if info, err := l.tree.stat(path.Join(rolesDir, r.Value)); errors.Is(err, fs.ErrNotExist) {
			l.problems.add(r.At, nearest(r.Value, roles), "roles: no folder %.80q in %s", r.Value, rolesDir)
		} else if err != nil {
			l.problems.join(err)
		} else if !info.IsDir() {
			l.problems.add(r.At, "", "roles: %s/%s is a file, expected a folder", rolesDir, r.Value)
		}
	}
	if f.Playbook.Value == "" {
		return
	}
	if _, err := l.tree.stat(path.Join(ansibleDir, f.Playbook.Value)); err != nil {
		l.problems.add(f.Playbook.At, "", "playbook: there is no file %s/%.80s", ansibleDir, f.Playbook.Value)
	}
}

// profileInputs are the files that decide what a profile does.
func (l *loader) profileInputs(p Profile) []string {
	if known, ok := l.inputs[p.Name]; ok {
		return known
	}
	inputs := []string{path.Join(profilesDir, p.Name+".yaml"), path.Join(ansibleDir, p.Playbook)}
	for _, name := range []string{ansibleDir + "/ansible.cfg", ansibleDir + "/callback_plugins"} {
		if _, err := l.tree.stat(name); err == nil {
			inputs = append(inputs, name)
		}
	}
	for _, r := range p.Roles {
		inputs = append(inputs, path.Join(rolesDir, r))
	}
	l.inputs[p.Name] = inputs
	return inputs
}

var defaultsKey = regexp.MustCompile(`(?m)^([a-z_][a-z0-9_]*):`)

// roleVars returns the variables that the roles of a profile declare in their defaults.
func (l *loader) roleVars(p Profile) []string {
	if known, ok := l.vars[p.Name]; ok {
		return known
	}
	names := []string{}
	for _, r := range p.Roles {
		b, err := l.tree.read(path.Join(rolesDir, r, "defaults/main.yml"), MaxFile)
		if err != nil {
			continue // a role without defaults has no variables to set
		}
		for _, m := range defaultsKey.FindAllSubmatch(b, -1) {
			names = append(names, string(m[1]))
		}
	}
	l.vars[p.Name] = names
	return names
}
