package upstream

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestCompareVersionsOfAFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format factory.Format
		a, b   string
		want   int
	}{
		{factory.Deb, "1.0-1", "1.0-2", -1}, {factory.Deb, "1:1.0-1", "2.0-1", 1}, {factory.Deb, "1.0~rc1-1", "1.0-1", -1}, {factory.Deb, "1.0-1", "1.0-1", 0},
		{factory.RPM, "5.1.8-9.el9", "5.1.8-10.el9", -1}, {factory.RPM, "1:1-1", "2-1", 1}, {factory.RPM, "0:2-1", "2-1", 0},
	} {
		if got := CompareVersions(c.format, c.a, c.b); got < 0 != (c.want < 0) || got > 0 != (c.want > 0) {
			t.Errorf("%s %s %s: %d", c.format, c.a, c.b, got)
		}
	}
}
