package factory

// The families of distributions that the factory builds, in the words of the vulnerability databases and of package URLs.
const (
	Debian = "debian"
	RedHat = "redhat"
	Amazon = "amazon"
)

// Format is how a family packs its packages, and so which tools decide, install and list them.
type Format string

// The formats.
const (
	Deb Format = "deb" // dpkg, apt
	RPM Format = "rpm" // rpm, dnf
)

// formats is all that the product knows of a family by itself; what else differs, adapters know.
var formats = map[string]Format{Debian: Deb, RedHat: RPM, Amazon: RPM}

// Format returns the package format of the distribution's family, empty for a family that the factory does not know.
func (d Distro) Format() Format { return formats[d.Family] }

// Version is what $releasever stands for in the URLs of the distribution's repositories: Releasever, or the release.
func (d Distro) Version() string {
	if d.Releasever != "" {
		return d.Releasever
	}
	return d.Release
}
