package definition

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	policyPath = folder + "/policy.yaml"
	packsDir   = folder + "/packs"
)

// Policies reads what each environment demands: baseimages/policy.yaml with its packs. Its error joins every problem in
// those files; then, and when policy.yaml is missing, there are no policies. Load checks the same files when they are
// there, and does without: an image can be read, locked and reproduced without them.
func Policies(dir string) (map[factory.Env]factory.Policy, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, err
	}
	defer t.close()
	l := &loader{tree: t}
	all := l.policies(l.parse(policyPath), l.packs())
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return all, nil
}

// checkPolicies tells what is wrong with the policies of a repository that has some.
func (l *loader) checkPolicies() {
	packs := l.packs()
	if _, err := l.tree.stat(policyPath); !errors.Is(err, fs.ErrNotExist) {
		l.policies(l.parse(policyPath), packs)
	}
}

// packs reads every pack there is, by name; nil for one that is not in order.
func (l *loader) packs() map[string]*packFile {
	entries, err := l.tree.list(packsDir)
	l.problems.join(err)
	all := map[string]*packFile{}
	for _, e := range entries {
		file := path.Join(packsDir, e.Name())
		name, ok := strings.CutSuffix(e.Name(), ".yaml")
		if _, valid := rules["pack"].ok(name); !ok || !valid || !e.Type().IsRegular() {
			l.problems.add(factory.Position{File: file}, "", "expected a file <name>.yaml: lower-case letters, digits and dashes")
			continue
		}
		all[name] = nil
		if n := l.parse(file); n != nil {
			all[name] = l.pack(name, n)
		}
	}
	return all
}

func (l *loader) pack(name string, n *node) *packFile {
	var f packFile
	before := len(l.problems)
	l.decode(n, &f, false)
	if f.Pack.Value != "" && f.Pack.Value != name {
		l.problems.add(f.Pack.At, "write "+name, "pack: expected the file's own name, found %.80s", f.Pack.Value)
	}
	var worse *number
	days := f.Deadlines.days()
	for _, s := range factory.Severities() {
		d := days[s]
		if d == nil {
			continue
		}
		if worse != nil && d.Value < worse.Value {
			l.problems.add(d.At, "give the worse ones the shorter deadline", "deadlines: %s has %d days, a worse severity has %d", s, d.Value, worse.Value)
		}
		worse = d
	}
	if len(days) == 0 && f.Deadlines.Where.Line > 0 {
		l.problems.add(f.Deadlines.Where, "give days for critical, high, moderate or low", "deadlines: no severity has one, so nothing would ever block")
	}
	if len(l.problems) > before {
		return nil
	}
	return &f
}

// days are the deadlines that are written.
func (f *deadlinesFile) days() map[factory.Severity]*number {
	all := map[factory.Severity]*number{factory.Critical: &f.Critical, factory.High: &f.High, factory.Moderate: &f.Moderate, factory.Low: &f.Low}
	maps.DeleteFunc(all, func(_ factory.Severity, n *number) bool { return n.At.Line == 0 })
	return all
}

// policies turns the file into what each environment demands, as far as it is in order.
func (l *loader) policies(n *node, packs map[string]*packFile) map[factory.Env]factory.Policy {
	if n == nil {
		return nil
	}
	// What an environment lacks may stand in the one that it is like: first the values, then each environment as a whole.
	before := len(l.problems)
	l.decode(n, &policiesFile{}, true)
	for _, key := range keysOf(reflect.TypeFor[policiesFile]()) {
		if (n.kind == tableNode || n.kind == nullNode) && n.get(key) == nil {
			l.problems.add(n.at, "add "+key+": with like: or with all of its demands", "key %q is missing", key)
		}
	}
	if len(l.problems) > before {
		return nil
	}
	all, done := map[factory.Env]factory.Policy{}, map[string]*node{}
	for _, env := range []factory.Env{factory.Dev, factory.Staging, factory.Prod} {
		whole := l.alike(env, n.get(string(env)), done)
		if done[string(env)] = whole; whole == nil {
			continue
		}
		told := len(l.problems)
		f := l.demands(env, whole)
		pack := l.packOf(f, packs)
		if len(l.problems) > told {
			done[string(env)] = nil // what is like it would only say so again
		} else if pack != nil {
			all[env] = policy(env, whole.at, f, pack)
		}
	}
	return all
}

func (l *loader) demands(env factory.Env, whole *node) (f policyFile) {
	var d decoder
	d.value(whole, reflect.ValueOf(&f).Elem(), "", string(env))
	l.problems = append(l.problems, d.problems...)
	if whole.get("compliance") == nil {
		l.problems.add(whole.at, "add compliance: with its floors, or compliance: [] when it demands none", "key \"compliance\" is missing in %s", env)
	}
	l.checkFloors(f.Compliance)
	return f
}

// alike lays an environment's own demands over those of the one that it is like; nil when that one comes later or is not
// in order.
func (l *loader) alike(env factory.Env, own *node, done map[string]*node) *node {
	like := own.get("like")
	if like == nil {
		return own
	}
	base, before := done[like.text]
	if !before {
		l.problems.add(like.at, "name an environment that comes before it: dev, staging, prod", "%s: cannot be like %s", env, like.text)
	}
	if base == nil {
		return nil
	}
	return merge(base, own, reflect.TypeFor[policyFile](), "")
}

func (l *loader) checkFloors(floors []floorFile) {
	type key struct {
		image, family, view string
		level               int
	}
	seen := map[key]floorFile{}
	for _, f := range floors {
		k := key{f.Image.Value, f.Family.Value, f.View.Value, f.Level.Value}
		if first, twice := seen[k]; twice {
			l.problems.add(f.Where, "keep one of them", "compliance: %s level %d is there twice, first in line %d", k.view, k.level, first.Where.Line)
		}
		seen[k] = f
	}
}

func (l *loader) packOf(f policyFile, packs map[string]*packFile) *packFile {
	p, known := packs[f.Pack.Value]
	switch {
	case f.Pack.Value == "": // told where it was decoded
	case !known:
		l.problems.add(f.Pack.At, nearest(f.Pack.Value, slices.Collect(maps.Keys(packs))), "pack: there is no %s/%.80s.yaml", packsDir, f.Pack.Value)
	case p == nil:
		l.problems.add(f.Pack.At, "mend that file first", "pack: %s/%s.yaml cannot be used", packsDir, f.Pack.Value)
	}
	return p
}

// policy is what an environment demands, with its digest. The texts' rules make every conversion here safe.
func policy(env factory.Env, at factory.Position, f policyFile, pack *packFile) factory.Policy {
	p := factory.Policy{
		Env: env, Pack: f.Pack.Value, Source: pack.Source.String(), Deadlines: map[factory.Severity]int{},
		Clock:   factory.Clock(cmp.Or(f.Clock.Value, pack.Clock.Value)),
		Unknown: factory.Severity(f.Unknown.Value),
		Tests:   f.Tests, Committed: f.Committed, EndOfLife: f.EndOfLife.Value, NoContent: f.NoContent.Value,
		Database: factory.DatabaseDemand{MaxAge: hours(f.Database.MaxAge.Value)},
	}
	if age := f.Database.ArchiveMaxAge.Value; age != "" {
		p.Database.ArchiveMaxAge = hours(age)
	}
	if f.Unknown.Value == "never" {
		p.Unknown = factory.Unknown
	}
	for s, n := range pack.Deadlines.days() {
		p.Deadlines[s] = n.Value
	}
	for _, kind := range slices.Compact(sorted(f.Database.Kinds)) {
		p.Database.Kinds = append(p.Database.Kinds, factory.DatabaseKind(kind))
	}
	for _, c := range f.Compliance {
		p.Compliance = append(p.Compliance, factory.Floor{Image: c.Image.Value, Family: c.Family.Value, View: factory.View(c.View.Value), Level: c.Level.Value, MaxFail: c.MaxFail.Value, MinApplicable: c.MinApplicable.Value})
	}
	slices.SortFunc(p.Compliance, func(a, b factory.Floor) int {
		return cmp.Or(cmp.Compare(a.View, b.View), cmp.Compare(a.Level, b.Level), cmp.Compare(a.Family, b.Family), cmp.Compare(a.Image, b.Image))
	})
	b, err := json.Marshal(p) // without digest and place: what is demanded counts, not how it is written
	if err != nil {
		panic(err) // strings, numbers and truth values cannot fail
	}
	p.Digest, p.Where = factory.DigestOf(b), at
	return p
}

// String is the source on one line.
func (s sourceFile) String() string {
	text := s.Title.Value + " (" + s.Date.Value + ")"
	if s.URL.Value != "" {
		text += ", " + s.URL.Value
	}
	return text
}

// hours reads what the rule "age" lets pass.
func hours(age string) factory.Hours {
	n, _ := strconv.Atoi(age[:len(age)-1])
	if age[len(age)-1] == 'd' {
		n *= 24
	}
	return factory.Hours(n)
}
