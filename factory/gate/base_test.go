package gate_test

import (
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory/gate"
)

// What is built on a release that nobody may use is not let in; one that is only not there yet is told.
func TestBaseThatWasRevoked(t *testing.T) {
	t.Parallel()
	e := evidence()
	e.Image.From, e.BaseRevoked = "debian-12", "debian-12 20261120: exploited"
	d := gate.Decide(policy(), e)
	if first := d.Reasons[0]; d.Pass || first.Rule != "base" || !first.Blocks || first.Subject != "debian-12" || !strings.HasSuffix(first.Text, "was revoked: debian-12 20261120: exploited") || !strings.Contains(first.Hint, "factory build --lock debian-12 ") {
		t.Errorf("%+v", d)
	}
	e.Base, e.BaseRevoked = "its base is not in prod", ""
	if d := gate.Decide(policy(), e); !d.Pass || len(d.Blocking()) > 0 || d.Reasons[len(d.Reasons)-1].Text == "" {
		t.Errorf("%+v", d)
	}
}
