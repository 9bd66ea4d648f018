package gate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

// A floor that names the image takes the place of one for its family, and that one the place of the one for all, of the same view and
// level; those of others do not count.
func TestFloorsOfAFamily(t *testing.T) {
	t.Parallel()
	own := factory.Floor{Family: "debian", View: factory.ContainerView, Level: 2, MinApplicable: 4}
	other := factory.Floor{Family: "redhat", View: factory.ContainerView, Level: 2, MinApplicable: 9}
	extended := factory.Floor{Family: "debian", View: factory.ExtendedView, Level: 2, MinApplicable: 1}
	named := factory.Floor{Image: evidence().Image.Name, View: factory.ContainerView, Level: 2, MinApplicable: 8}
	stranger := factory.Floor{Image: "somebody-else", View: factory.ContainerView, Level: 2, MinApplicable: 9}
	const few = "BLOCKS compliance: container level 2: 3 of 3, 1 not applicable; only 3 apply and at least 4 must, so the evaluation proves too little"
	for name, c := range map[string]struct {
		floors []factory.Floor
		family string
		want   []string
	}{
		"its own is stricter":      {[]factory.Floor{own}, "debian", []string{few}},
		"another family's":         {[]factory.Floor{own, other}, "amazon", nil},
		"each has its own":         {[]factory.Floor{own, other}, "redhat", []string{strings.Replace(few, "at least 4", "at least 9", 1)}},
		"of another view":          {[]factory.Floor{extended}, "debian", []string{"BLOCKS compliance: extended level 2 was not evaluated"}},
		"nobody's family":          {[]factory.Floor{own}, "", nil},
		"before the one for all":   {[]factory.Floor{own, {View: factory.ContainerView, Level: 2, MinApplicable: 99}}, "debian", []string{few}},
		"its own, by name":         {[]factory.Floor{named, own}, "debian", []string{strings.Replace(few, "at least 4", "at least 8", 1)}},
		"another image's":          {[]factory.Floor{stranger, own}, "debian", []string{few}},
		"by name, another family":  {[]factory.Floor{named}, "amazon", []string{strings.Replace(few, "at least 4", "at least 8", 1)}},
		"twice the family's floor": {[]factory.Floor{own, own}, "debian", []string{few, few}},
	} {
		p, e := policy(), evidence()
		p.Compliance, e.Image.Distro.Family = append(p.Compliance, c.floors...), c.family
		d := gate.Decide(p, e)
		if got := slices.DeleteFunc(texts(d), func(s string) bool { return !strings.HasPrefix(s, "BLOCKS") }); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Where no content exists one reason says so, and the policy decides what it means. What was evaluated all the same is judged.
func TestNoContent(t *testing.T) {
	t.Parallel()
	const said = "compliance: nothing was evaluated, so nothing is proven: nobody wrote any"
	for _, c := range []struct {
		policy string
		edit   func(*factory.Compliance)
		pass   bool
		want   []string
	}{
		{"", nil, false, []string{"BLOCKS " + said}},
		{"block", nil, false, []string{"BLOCKS " + said}},
		{"warn", nil, true, []string{said}},
		{"warn", func(c *factory.Compliance) { c.NoContent = "" }, false, []string{"BLOCKS compliance: container level 2 was not evaluated"}},
		{"warn", func(c *factory.Compliance) {
			c.Evaluations = []factory.Evaluation{{View: factory.ExtendedView, Level: 2, Platform: amd64, Rules: rules("a=pass")}}
		}, false, []string{"BLOCKS compliance: container level 2 was not evaluated", "compliance: extended level 2: 1 of 1, 0 not applicable; nothing is demanded of it", said}},
	} {
		p, e := policy(), evidence()
		p.NoContent, e.Compliance = c.policy, factory.Compliance{Tool: "OpenSCAP 1.4.2", NoContent: "nobody wrote any"}
		if c.edit != nil {
			c.edit(&e.Compliance)
		}
		d := gate.Decide(p, e)
		got := slices.DeleteFunc(texts(d), func(s string) bool { return !strings.Contains(s, "compliance: ") })
		slices.Sort(got)
		if d.Pass != c.pass || !slices.Equal(got, c.want) {
			t.Errorf("policy %q: pass %v, %q", c.policy, d.Pass, got)
		}
		for _, r := range d.Blocking() {
			if r.Hint == "" {
				t.Errorf("nobody says what to do about %q", r.Text)
			}
		}
	}
}
