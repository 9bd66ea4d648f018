package gate

import (
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Too few rules that apply cannot be waived: the hint names the place where a floor is.
func TestHintOfTooFew(t *testing.T) {
	t.Parallel()
	c := &decider{}
	c.checkFloor(factory.Floor{MinApplicable: 9}, factory.Evaluation{})
	if r := c.decision.Reasons; len(r) != 1 || !r[0].Blocks || !strings.HasSuffix(r[0].Hint, "a floor of its own in baseimages/policy.yaml") {
		t.Errorf("%+v", r)
	}
}
