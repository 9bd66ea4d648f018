package upstream

import "github.com/imagefactory/imagefactory/factory"

// CompareVersions orders versions as the packages of a format do: dpkg's order, or rpm's.
func CompareVersions(f factory.Format, a, b string) int {
	if f == factory.RPM {
		return compareEVR(a, b)
	}
	return compareVersions(a, b)
}
