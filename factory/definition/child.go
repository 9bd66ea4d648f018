package definition

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	maxDepth   = 10 // images, one on the other, that an image is built on
	childsOnly = "only a child has it: say from:, or remove it"
)

// read is an image's folder as it was read, kept for its children.
type read struct {
	image factory.Image
	// file and tests are its own documents laid over everything that they continue; nil when they cannot be read.
	file, tests *node
	depth       int  // 0 = made of packages alone
	part        bool // it, or something that it is built on, has only a part of its parent
	ok          bool // nothing is wrong with it, nor with what it is built on
	wrong       problems
	// behind is its parent, when nothing is wrong but with that or what that is built on.
	behind string
}

// parent returns the image that a document says it is built on, read. It is nil when the document says none, and when what it
// says cannot be: then there is a problem, or there was one where the parent was read, and whole is false.
func (l *loader) parent(name string, own *node, trail []string) (parent *read, whole bool) {
	from := own.get("from")
	if from == nil || from.kind != textNode {
		return nil, true // decoding tells what is wrong with it
	}
	trail = append(trail, name)
	switch i := slices.Index(trail, from.text); {
	case !slices.Contains(l.names, from.text):
		l.problems.add(from.at, nearest(from.text, l.names), "from: there is no image %.80q", from.text)
		return nil, false
	case i >= 0:
		circle := append(slices.Clone(trail[i:]), from.text)
		l.problems.add(from.at, "cut it in one place", "from: images that are built on each other: %s", strings.Join(circle, " → "))
		return nil, false
	}
	parent = l.read(from.text, trail)
	if parent.file == nil || !parent.ok {
		return nil, false
	}
	if parent.image.Kind == factory.KindToolbox {
		l.problems.add(from.at, "name a base image", "from: %s is a toolbox, which nobody builds on", from.text)
		return nil, false
	}
	if parent.depth+1 > maxDepth {
		l.problems.add(from.at, "build on one of its ancestors", "from: %s would be built on %d images, one on the other, expected at most %d", name, parent.depth+1, maxDepth)
		return nil, false
	}
	return parent, true
}

// inherited is what a child's image.yaml continues: its parent's document without what is the parent's alone.
func inherited(parent, own *node) *node {
	base := parent.without("use", "from", "only", "files", "dockerfile", "summary")
	if own.get("platforms") != nil {
		base = base.without("platforms") // a child may leave some out
	}
	packages := base.get("packages")
	if packages == nil {
		return base
	}
	if len(own.get("only").list()) > 0 { // the child names its packages itself
		return base.with("packages", packages.without("essential", "include", "exclude"))
	}
	included := own.get("packages").get("include").list()
	if excluded := packages.get("exclude"); excluded != nil && len(included) > 0 {
		kept := *excluded
		kept.items = drop(excluded.items, included, func(n *node) string { return n.text })
		return base.with("packages", packages.with("exclude", &kept))
	}
	return base
}

// said are the keys of a child's own configuration, sorted.
func said(config *node) (keys []string) {
	for _, f := range config.fieldList() {
		switch {
		case f.value == nil || f.value.kind == nullNode:
		case f.key == "env" || f.key == "labels":
			for _, inner := range f.value.fieldList() {
				keys = append(keys, f.key+"."+inner.key)
			}
		default:
			keys = append(keys, f.key)
		}
	}
	slices.Sort(keys)
	return keys
}

// inheritedTests is what a child's tests.yaml continues: its parent's tests without those that the child states otherwise.
func inheritedTests(parent, own *node) *node {
	base := parent.without("use")
	for list, key := range map[string]string{"commands": "name", "files": "path", "users": "name"} {
		if old, now := base.get(list), own.get(list); old != nil && now != nil {
			kept := *old
			kept.items = drop(old.items, now.items, func(n *node) string {
				if v := n.get(key); v != nil {
					return v.text
				}
				return ""
			})
			base = base.with(list, &kept)
		}
	}
	packages := base.get("packages")
	for list, other := range map[string]string{"present": "absent", "absent": "present"} {
		if old := packages.get(list); old != nil {
			kept := *old
			kept.items = drop(old.items, own.get("packages").get(other).list(), func(n *node) string { return n.text })
			packages = packages.with(list, &kept)
		}
	}
	if packages != nil {
		base = base.with("packages", packages)
	}
	return base
}

// drop returns the nodes whose names none of the others has.
func drop(nodes, others []*node, name func(*node) string) []*node {
	gone := map[string]bool{}
	for _, n := range others {
		gone[name(n)] = true
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return name(n) != "" && gone[name(n)] })
}

// without returns the mapping without some of its keys.
func (n *node) without(keys ...string) *node {
	if n == nil {
		return nil
	}
	rest := *n
	rest.fields = slices.DeleteFunc(slices.Clone(n.fields), func(f field) bool { return slices.Contains(keys, f.key) })
	return &rest
}

// with returns the mapping with another value for a key that it has.
func (n *node) with(key string, value *node) *node {
	other := *n
	other.fields = slices.Clone(n.fields)
	for i := range other.fields {
		if other.fields[i].key == key {
			other.fields[i].value = value
		}
	}
	return &other
}

// checkFitting finds what does not fit what the image is built on.
func (l *loader) checkFitting(f imageFile, parent *read) {
	l.checkChild(f)
	if parent == nil {
		return
	}
	d := parent.image.Distro
	for _, said := range []struct {
		key  string
		text text
		want string
	}{{"family", f.Distro.Family, d.Family}, {"release", f.Distro.Release, d.Release}, {"codename", f.Distro.Codename, d.Codename}, {"releasever", f.Distro.Releasever, d.Releasever}} {
		if said.text.Value != said.want {
			l.problems.add(said.text.At, "leave it to the parent", "distro.%s: expected what %s is, %s, found %.80q", said.key, f.From.Value, cmp.Or(said.want, "nothing"), said.text.Value)
		}
	}
	for _, p := range f.Packages.Include {
		if parent.part && !slices.Contains(parent.image.Packages.Include, p.Value) {
			l.problems.add(p.At, "put it where the part is defined, or bring files", "packages.include: %s has only a part of its parent, and not what a package needs", f.From.Value)
		}
	}
	for _, u := range f.Users {
		if parent.part && !slices.ContainsFunc(parent.image.Users, func(o factory.User) bool { return o.Name == u.Name.Value }) {
			l.problems.add(u.Name.At, "put it where the part is defined", "users: %s has only a part of its parent, and nothing that makes accounts", f.From.Value)
		}
	}
	for _, p := range f.Platforms {
		if platform, err := factory.ParsePlatform(p.Value); err == nil && !slices.Contains(parent.image.Platforms, platform) {
			l.problems.add(p.At, "add it there first", "platforms: %s is not made for %s", f.From.Value, p.Value)
		}
	}
}

// checkChild finds what a child cannot say together, and what nobody else can say.
func (l *loader) checkChild(f imageFile) {
	if f.From.Value == "" {
		for key, at := range map[string]factory.Position{"only": firstAt(f.Only), "dockerfile": f.Dockerfile.At} {
			if at.Line > 0 {
				l.problems.add(at, childsOnly, "%s: this image is built on no other", key)
			}
		}
		if len(f.Files) > 0 {
			l.problems.add(f.Files[0].Where, childsOnly, "files: this image is built on no other")
		}
		return
	}
	if f.Kind.Value == string(factory.KindToolbox) {
		l.problems.add(f.From.At, "remove it", "from: a toolbox is made of packages alone")
	}
	if format := (factory.Distro{Family: f.Distro.Family.Value}).Format(); format == factory.RPM && len(f.Only) > 0 {
		l.problems.add(f.Only[0].At, "build on the whole of it", "only: parts are made of Debian images, and %s is one of RPM packages", f.From.Value)
	}
	if f.Dockerfile.Value != "" {
		if len(f.Files) > 0 {
			l.problems.add(f.Files[0].Where, "COPY it in the "+f.Dockerfile.Value, "files: the %s has everything below files/ already", f.Dockerfile.Value)
		}
		if len(f.Only) > 0 {
			l.problems.add(f.Dockerfile.At, "decide for one", "dockerfile: an image with only a part of its parent is made of packages and files")
		}
	}
}

func firstAt(texts []text) factory.Position {
	if len(texts) == 0 {
		return factory.Position{}
	}
	return texts[0].At
}

// checkShared refuses in a shared file what only one image can say.
func (l *loader) checkShared(n *node) {
	for _, f := range n.get("image").fieldList() {
		if slices.Contains([]string{"from", "only", "files", "dockerfile"}, f.key) {
			l.problems.add(f.at, "write it in the image's own image.yaml", "%s: a shared file cannot say it", f.key)
		}
	}
}

func (n *node) fieldList() []field {
	if n == nil {
		return nil
	}
	return n.fields
}

// handed are the waivers that a child has from its parent: all but those that it states anew.
func handed(parent factory.Image, own []factory.Waiver) (all []factory.Waiver) {
	for _, w := range parent.Waivers {
		if !slices.ContainsFunc(own, func(o factory.Waiver) bool { return o.ID == w.ID && slices.Equal(o.Packages, w.Packages) }) {
			w.Inherited = cmp.Or(w.Inherited, parent.Name)
			all = append(all, w)
		}
	}
	return all
}

// Ancestors returns the images that an image is built on, the one that is made of packages alone first. An image that is not in
// the set has none.
func (s Set) Ancestors(name string) (all []factory.Image) {
	img, err := s.Image(name)
	for err == nil && img.From != "" && len(all) <= maxDepth {
		if img, err = s.Image(img.From); err == nil {
			all = append(all, img)
		}
	}
	slices.Reverse(all)
	return all
}

var (
	imageType = reflect.TypeFor[imageFile]()
	testsType = reflect.TypeFor[testsFile]()
)
