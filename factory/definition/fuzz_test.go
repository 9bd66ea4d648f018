package definition

import (
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Whatever the bytes are: reading ends, every problem has a place in the file, and what is read can be merged with itself
// without a change.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"kind: base\n", "use: [a]\nkind: toolbox\n", "a: {b: [c, {d: e}]}\n", "a:\n- b\n- c: d\n  e: |\n    x\n", "? a\n: b\n", "&a [*a]\n",
		"a: !!binary x\n", "---\na: 1\n---\nb: 2\n", "%YAML 1.2\n---\na", "\"a\": 'b'\n", "a: 0x1F\nb: 1e9\nc: .nan\nd: -.inf\ne: 0o7\n", "[[[[", "- - - -", "a: >-\n  b\n\n  c\n", "\ufeffa: b",
		"archives:\n  - {id: debian, suite: bookworm, components: [main]}\nusers:\n  - {name: a, uid: 1, gid: 1, home: /, shell: /bin/sh}\n",
		"hardening: {profile: p, level: 1, scope: vm, vars: {a: [b], c: 1.5, d: true}}\n", "<<: {a: b}\n", "a: b: c\n", "a: [b\n", "\t", "a: 99999999999999999999999\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parse("f.yaml", b)
		if err != nil {
			for _, p := range factory.Problems(err) {
				if p.Where.File != "f.yaml" || p.What == "" || len(p.What) > 1000 {
					t.Fatalf("a problem without a place: %v", err)
				}
			}
			return
		}
		for _, part := range []any{&imageFile{}, &testsFile{}, &waiversFile{}, &ownersFile{}, &sharedFile{}, &profileFile{}, &policiesFile{}, &packFile{}, &dependentsFile{}} {
			var d decoder
			d.decode(n, part)
			for _, p := range d.problems {
				if p.Where.File != "f.yaml" || p.Where.Line < 1 || p.Where.Column < 1 {
					t.Fatalf("a problem without a place: %v", p)
				}
			}
			if len(d.problems) > 0 || n.kind != tableNode {
				continue
			}
			if file, ok := part.(*imageFile); ok {
				var img factory.Image
				fill(&img, *file)
				if Digest(img) == "" {
					t.Fatal("no digest")
				}
			}
		}
		if n.kind == tableNode && !duplicates(n) && !same(merge(n, n, nil, ""), n) {
			t.Fatal("merging a file with itself changes it")
		}
	})
}

// duplicates reports whether any mapping has a key twice; merging keeps those for decoding to refuse.
func duplicates(n *node) bool {
	seen := map[string]bool{}
	for _, f := range n.fields {
		if seen[f.key] || duplicates(f.value) {
			return true
		}
		seen[f.key] = true
	}
	for _, item := range n.items {
		if duplicates(item) {
			return true
		}
	}
	return false
}

func FuzzCodeowners(f *testing.F) {
	f.Add("* @a\n/baseimages/x/ @b c@example.com # why\n[Section] @d\n")
	f.Add("/baseimages/[ @x")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range parseCodeowners([]byte(text)) {
			if r.pattern == "" || strings.ContainsAny(r.pattern, " \t\n") || r.at.Line < 1 || r.at.Column < 1 {
				t.Fatalf("%+v", r)
			}
			r.covers("small") // must not panic on a bad glob
		}
	})
}

func TestLevenshtein(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"debian", "debain", 2}, {strings.Repeat("a", 5000), strings.Repeat("b", 5000), 100}} {
		if got := levenshtein(c.a, c.b); got != c.want || levenshtein(c.b, c.a) != got {
			t.Errorf("%.10q and %.10q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// Whatever stands in policy.yaml and a pack: there are three policies that can be applied, or problems with their places.
func FuzzPolicies(f *testing.F) {
	const policy = "dev:\n  pack: p\n  unknown: never\n  compliance: [{view: container, level: 1, maxFail: 0, minApplicable: 1}]\n  tests: true\n  committed: false\n" +
		"  database: {kinds: [archive], maxAge: 7d}\n  endOfLife: warn\nstaging: {like: dev}\nprod: {like: staging, unknown: high}\n"
	const pack = "pack: p\nsource: {title: T, date: 2026-01-02}\nclock: published\ndeadlines: {high: 7}\n"
	f.Add([]byte(policy), []byte(pack))
	f.Add([]byte("dev: {like: prod}\nstaging: {like: staging}\nprod: {like: dev}\n"), []byte("pack: q\ndeadlines: {}\n"))
	f.Add([]byte("dev:\n"), []byte("deadlines: {critical: 9, low: 1}\n"))
	f.Fuzz(func(t *testing.T, policy, pack []byte) {
		l := &loader{}
		packs := map[string]*packFile{}
		if n, err := parse("pack.yaml", pack); err == nil {
			packs["p"] = l.pack("p", n)
		}
		n, err := parse("policy.yaml", policy)
		if err != nil {
			return
		}
		all := l.policies(n, packs)
		for _, p := range l.problems {
			if p.What == "" || p.Where.Line < 1 || p.Where.Column < 1 {
				t.Fatalf("a problem without a place: %v", p)
			}
		}
		if len(l.problems) == 0 && len(all) != 3 {
			t.Fatalf("%d policies and no problem", len(all))
		}
		for env, p := range all {
			if p.Env != env || p.Digest == "" || len(p.Deadlines) == 0 || p.Database.MaxAge < 1 || len(p.Database.Kinds) == 0 || p.Clock == "" || p.Unknown == "" {
				t.Fatalf("%+v", p)
			}
		}
	})
}
