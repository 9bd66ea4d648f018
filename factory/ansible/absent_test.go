package ansible

import (
	"slices"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// What is cut out of an image has no outcome of controls that are about what it does not have, and says why.
func TestAbsent(t *testing.T) {
	t.Parallel()
	c := catalogue{Profile: "cis_debian", Controls: []control{{ID: "5.2.1"}, {ID: "5.3.1.1"}, {ID: "5.3.2.1"}, {ID: "5.4.3.2"}, {ID: "5.4.3.20"}}}
	lock := factory.Lock{Platforms: []factory.LockedPlatform{{Packages: []factory.Package{{Name: "base-files"}}}}}
	cut := factory.Image{Only: []string{"base-files"}}
	why := absent(c, cut, lock)
	if len(why) != 3 || why["5.3.1.1"] == "" || why["5.3.2.1"] == "" || why["5.4.3.2"] == "" {
		t.Errorf("%v", why)
	}
	lock.Platforms[0].Packages = append(lock.Platforms[0].Packages, factory.Package{Name: "bash"})
	if got := absent(c, cut, lock); len(got) != 2 {
		t.Errorf("with a shell: %v", got)
	}
	other := c
	other.Profile = "cis_rhel"
	if got := len(absent(c, factory.Image{}, lock)) + len(absent(other, cut, lock)); got != 0 {
		t.Errorf("%d controls of a whole image, or of another profile", got)
	}

	// What is built on a part is one, too; what has dpkg is whole.
	child := factory.Image{From: "part", Distro: factory.Distro{Family: "debian"}}
	if !cutOut(child, lock) || len(absent(c, child, lock)) != 2 {
		t.Error("a child of a part counts as whole")
	}
	lock.Platforms[0].Packages = append(lock.Platforms[0].Packages, factory.Package{Name: "dpkg"})
	if cutOut(child, lock) || len(absent(c, child, lock)) != 0 {
		t.Error("a child of a whole image counts as a part")
	}

	until := factory.DateOf(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	exempt := map[string]exemption{"5.3.1.1": {Exemption: factory.Exemption{Control: "5.3.1.1", Reason: "a person says so", Until: until}}}
	if got := leftAlone(exempt, why); !slices.Equal(got, []string{"5.3.1.1", "5.3.2.1", "5.4.3.2"}) {
		t.Errorf("left alone: %v", got)
	}
	var r report
	for _, k := range c.Controls {
		o := outcome{Control: k.ID, Outcome: factory.Exempt}
		if k.ID == "5.2.1" || k.ID == "5.4.3.20" {
			o.Outcome = factory.Already
		}
		r.Outcomes = append(r.Outcomes, o)
	}
	all, err := outcomes(c, r, exempt, why, factory.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []factory.Outcome{factory.Already, factory.Exempt, factory.NotApplicable, factory.NotApplicable, factory.Already} {
		if all[i].Outcome != want || want == factory.NotApplicable && all[i].Reason == "" {
			t.Errorf("%+v, want %s", all[i], want)
		}
	}
}
