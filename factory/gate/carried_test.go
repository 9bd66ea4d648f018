package gate_test

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

// Evidence of other images counts, and is told as what it is.
func TestCarriedEvidenceIsTold(t *testing.T) {
	t.Parallel()
	e := evidence()
	e.Carried = []string{"the tests are those of another image"}
	d := gate.Decide(policy(), e)
	if last := d.Reasons[len(d.Reasons)-1]; !d.Pass || last != (factory.Reason{Rule: "carried", Text: "the tests are those of another image"}) {
		t.Errorf("%+v", d)
	}
}
