package definition

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// Set is every definition of a repository.
type Set struct {
	Dir    string          // the repository's root, as given to Load
	Images []factory.Image // sorted by name
	Teams  map[string]factory.Owner
	Broken []string // names of the images that have problems and are not in Images, sorted
	// Behind names, for those of the Broken that have no problem of their own, the parent that is broken.
	Behind map[string]string
	// Faults is what is wrong with each of the other Broken: its own problems, then those that are no image's.
	Faults map[string]error
	// Dependents are those of dependents.yaml that are in order, sorted by name.
	Dependents []factory.Dependent
}

// Load reads the definitions below dir, the repository's root. Its error joins every problem there is, sorted by place,
// as *factory.Problem with paths relative to dir; the Set holds the images that are in order even then.
func Load(dir string) (Set, error) {
	set := Set{Dir: dir, Behind: map[string]string{}}
	t, err := openTree(dir)
	if err != nil {
		return set, err
	}
	defer t.close()
	l := &loader{tree: t, shared: map[string]*node{}, profiles: map[string]*Profile{}, images: map[string]*read{},
		inputs: map[string][]string{}, vars: map[string][]string{}, fine: map[*node]bool{}}
	if err := l.find(); err != nil {
		return set, err
	}
	defer l.readAhead()()
	l.readOwners()
	l.readShared()
	l.checkOwners()
	wrong := l.checkCodeowners(l.readCodeowners())
	l.checkPolicies()
	set.Dependents = l.readDependents()
	for _, name := range l.names {
		r := l.read(name, nil)
		spoilt := slices.ContainsFunc(r.image.Inputs, func(file string) bool {
			return slices.Contains(l.flawed, file) || wrong[strings.TrimPrefix(file, folder+"/")] != nil
		})
		if r.ok && !spoilt {
			set.Images = append(set.Images, r.image)
		} else {
			set.Broken = append(set.Broken, name)
			if r.behind != "" {
				set.Behind[name] = r.behind
			}
		}
	}
	if len(set.Broken) > 0 {
		set.Faults = l.faults(set, wrong)
	}
	set.Teams = l.teams()
	return set, l.problems.err()
}

// Image returns a definition by name. An unknown name is ErrNotFound, with the nearest name as the hint.
func (s Set) Image(name string) (factory.Image, error) {
	var names []string
	for i := range s.Images {
		if s.Images[i].Name == name {
			return s.Images[i], nil
		}
	}
	for _, img := range s.Images {
		names = append(names, img.Name)
	}
	return factory.Image{}, &factory.Problem{Kind: factory.ErrNotFound, What: fmt.Sprintf("no image %.80q", name), Hint: nearest(name, names)}
}

// Expired returns a problem for each waiver and exemption that ended before day, with every image that it was for. They count as absent.
func (s Set) Expired(day factory.Date) (all []*factory.Problem) {
	type entry struct {
		where factory.Position
		what  string
	}
	images := map[entry][]string{}
	var order []entry
	note := func(image string, until factory.Date, where factory.Position, format string, args ...any) {
		if !until.Time().Before(day.Time()) {
			return
		}
		e := entry{where, fmt.Sprintf(format, args...)}
		if images[e] == nil {
			order = append(order, e)
		}
		if !slices.Contains(images[e], image) {
			images[e] = append(images[e], image)
		}
	}
	for _, img := range s.Images {
		for _, e := range img.Hardening.Exempt {
			note(img.Name, e.Until, e.Where, "the exemption of control %s ended on %s", e.Control, e.Until)
		}
		for _, w := range img.Waivers {
			note(img.Name, w.Until, w.Where, "the waiver for %s ended on %s", w.ID, w.Until)
		}
	}
	for _, e := range order {
		all = append(all, problem(e.where, "remove it, or renew it with a reason", "%s: %s", strings.Join(images[e], ", "), e.what))
	}
	return all
}

// loader is one Load under way.
type loader struct {
	tree     tree
	names    []string // of the images' folders
	files    []string // beside them
	owners   ownersFile
	shared   map[string]*node    // by name, without .yaml; nil when it cannot be read
	flawed   []string            // shared files with problems of their own
	profiles map[string]*Profile // nil when it cannot be used
	images   map[string]*read    // those that were read
	inputs   map[string][]string // and variables, by profile
	vars     map[string][]string
	fine     map[*node]bool // see decoder
	problems problems
	ahead    map[string]func() *contents // of the images' folders, which are read before it is their turn
}

// known returns every name that may stand in baseimages/.
func (l *loader) known() []string { return slices.Concat(l.names, l.files) }

// find lists baseimages/: folders are images, except shared.
func (l *loader) find() error {
	entries, err := l.tree.list(folder)
	if err != nil {
		return err
	}
	l.files = []string{"owners.yaml", "policy.yaml", "schema.json", "README.md", "shared", "packs", "keys", "dependents.yaml"}
	for _, e := range entries {
		at := factory.Position{File: path.Join(folder, e.Name())}
		switch {
		case slices.Contains(l.files, e.Name()):
		case e.Type().IsRegular():
			l.problems.add(at, nearest(e.Name(), l.files), "unknown file, expected an image's folder or one of %s", strings.Join(l.files, ", "))
		default:
			if _, ok := rules["image"].ok(e.Name()); !ok {
				l.problems.add(at, "rename the folder", "expected %s, found %.80q", rules["image"].want, e.Name())
				continue
			}
			l.names = append(l.names, e.Name())
		}
	}
	if len(l.names) == 0 {
		l.problems.add(factory.Position{File: folder}, "run in the repository's root, or name it with --dir", "no image is defined here")
		return l.problems.err()
	}
	return nil
}

// parse returns a file's document; a file that is not there, or is none, is a problem and nil.
func (l *loader) parse(name string) *node {
	d := l.document(name)
	switch {
	case errors.Is(d.err, fs.ErrNotExist):
		l.problems.add(factory.Position{File: name}, "make it", "the file is missing")
	case d.err != nil:
		l.problems.join(d.err)
	}
	return d.node
}

// decode fills into from n and keeps the problems.
func (l *loader) decode(n *node, into any, partial bool) {
	d := decoder{partial: partial, fine: l.fine}
	d.decode(n, into)
	l.problems = append(l.problems, d.problems...)
}

func (l *loader) readOwners() {
	if n := l.parse(ownersPath); n != nil {
		l.decode(n, &l.owners, false)
	}
}

func (l *loader) readCodeowners() []codeRule {
	b, err := l.tree.read(codeownersPath, MaxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.problems.join(err)
	}
	return parseCodeowners(b)
}

func (l *loader) readShared() {
	const shared = folder + "/shared"
	entries, err := l.tree.list(shared)
	l.problems.join(err)
	for _, e := range entries {
		file := path.Join(shared, e.Name())
		name, ok := strings.CutSuffix(e.Name(), ".yaml")
		if _, valid := rules["shared"].ok(name); !ok || !valid || !e.Type().IsRegular() {
			l.problems.add(factory.Position{File: file}, "", "expected a file <name>.yaml: lower-case letters, digits and dashes")
			continue
		}
		n := l.parse(file)
		l.shared[name] = n
		if n == nil {
			continue
		}
		before := len(l.problems)
		l.checkShared(n)
		for _, use := range l.parts(n) {
			l.problems.add(use.At, "list both files where the image says use", "a shared file cannot use another one")
		}
		if len(l.problems) > before {
			l.flawed = append(l.flawed, file)
		}
	}
}

// parts checks both parts of a shared file as if they stood in an image's own file, so that a mistake is told once. It
// returns what they say under use.
func (l *loader) parts(n *node) []text {
	whole := *n
	whole.fields = slices.Clone(n.fields)
	var image imageFile
	var tests testsFile
	for i, f := range whole.fields {
		var part any
		switch f.key {
		case "image":
			part = &image
		case "tests":
			part = &tests
		default:
			continue
		}
		if f.value.kind == tableNode {
			l.decode(f.value, part, true)
			whole.fields[i].value = &node{at: f.value.at, kind: tableNode}
		}
	}
	l.decode(&whole, &sharedFile{}, true)
	return slices.Concat(image.Use, tests.Use)
}

// continued lays a file's own document over the parts of the shared files that it uses, and names those. It is not whole
// when one of them cannot be used: what is missing then is no fault of this file.
func (l *loader) continued(n *node, part string, t reflect.Type) (all *node, used []string, whole bool) {
	var base *node
	whole = true
	for _, item := range n.get("use").list() {
		shared, ok := l.shared[item.text]
		switch {
		case item.kind != textNode: // decoding tells
		case !ok:
			l.problems.add(item.at, nearest(item.text, slices.Collect(maps.Keys(l.shared))), "use: there is no %s/shared/%.80s.yaml", folder, item.text)
			whole = false
		case shared == nil:
			l.problems.add(item.at, "mend that file first", "use: %s/shared/%s.yaml cannot be read", folder, item.text)
			whole = false
		default:
			used = append(used, folder+"/shared/"+item.text+".yaml")
			base = merge(base, shared.get(part), t, "")
		}
	}
	merged := *merge(base, n, t, "")
	merged.at = n.at
	return &merged, used, whole
}

func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.items
}
