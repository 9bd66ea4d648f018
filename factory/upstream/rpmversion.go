package upstream

import (
	"regexp"
	"strings"

	rpm "github.com/knqyf263/go-rpm-version"
)

var evrText = regexp.MustCompile(`^(?:[0-9]+:)?[A-Za-z0-9._+~^]+-[A-Za-z0-9._+~^]+$`)

// compareEVR orders [epoch:]version-release as rpm does. No epoch is epoch 0.
func compareEVR(a, b string) int { return rpm.NewVersion(a).Compare(rpm.NewVersion(b)) }

// withoutEpoch is version-release.
func withoutEpoch(evr string) string {
	if _, rest, ok := strings.Cut(evr, ":"); ok {
		return rest
	}
	return evr
}
