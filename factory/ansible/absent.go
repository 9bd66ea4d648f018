package ansible

import (
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// about says what controls are about: without this package they can have no effect. The roles look for files where that tells;
// of these, only a package tells. It counts for what is cut out of an image alone: of a whole one, a package that a control
// needs and does not find is a fault.
var about = []struct{ profile, control, pkg, reason string }{
	{"cis_debian", "5.3", "libpam-runtime", "nothing in the image asks PAM: it has no libpam-runtime"},
	{"cis_debian", "5.4.3.2", "bash", "no shell of the image could read it: it has no bash"},
}

// cutOut reports whether an image is cut out of another one, or is built on one that is: then it has no dpkg, and may have no shell.
func cutOut(img factory.Image, lock factory.Lock) bool {
	return len(img.Only) > 0 || img.From != "" && img.Distro.Format() == factory.Deb && !lock.Has("dpkg")
}

// absent returns the controls of a profile that can have no effect in what is cut out of an image, and why.
func absent(c catalogue, img factory.Image, lock factory.Lock) map[string]string {
	why := map[string]string{}
	for _, a := range about {
		if !cutOut(img, lock) || lock.Has(a.pkg) || a.profile != c.Profile {
			continue
		}
		for _, k := range c.Controls {
			if k.ID == a.control || strings.HasPrefix(k.ID, a.control+".") {
				why[k.ID] = a.reason
			}
		}
	}
	return why
}
