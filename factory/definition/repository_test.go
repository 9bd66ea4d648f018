package definition_test

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const repository = "../.."

// The definitions that this repository ships are in order.
func TestRepository(t *testing.T) {
	set, err := definition.Load(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"debian-12", "debian-13", "toolbox"} {
		img, err := set.Image(name)
		if err != nil {
			t.Fatal(err)
		}
		if img.Owner.Team == "" || len(img.Owner.Contacts) == 0 {
			t.Errorf("%s has no owner", name)
		}
		if _, digest, err := definition.Pack(repository, img); err != nil || digest == "" {
			t.Errorf("packing %s: %v", name, err)
		}
	}
	debian, _ := set.Image("debian-12")
	if debian.Hardening.Profile == "" || !debian.Tests.NonRoot || len(debian.Tests.Setuid) == 0 || debian.Config.User != "65532:65532" {
		t.Errorf("debian-12 lost what it shares: %+v", debian)
	}
	if box, _ := set.Image("toolbox"); box.Kind != factory.KindToolbox || len(box.Archives) != 4 {
		t.Errorf("toolbox: %+v", box)
	}
}
