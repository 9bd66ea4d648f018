package rebase

import (
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// An image that has only a part of its base shares no layer with it, which is told as one of the reasons.
func TestLayersOfPart(t *testing.T) {
	t.Parallel()
	if c := Layers(factory.Platform{}, []factory.Digest{"a"}, []factory.Digest{"b", "c"}); c.OK || !strings.Contains(c.Text, "none of the old base's 2 layers is in it") || !strings.Contains(c.Text, "only:") {
		t.Errorf("%+v", c)
	}
}
