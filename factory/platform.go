package factory

import (
	"fmt"
	"strings"
)

// Platform is what an image runs on, in OCI terms. The zero value is not a platform.
type Platform struct {
	OS           string
	Architecture string
}

// ParsePlatform reads "linux/amd64" or "linux/arm64", the two that the factory builds.
func ParsePlatform(s string) (Platform, error) {
	os, arch, ok := strings.Cut(s, "/")
	if !ok || os != "linux" || (arch != "amd64" && arch != "arm64") {
		return Platform{}, &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.40q is not a platform that the factory builds", s), Hint: "linux/amd64 or linux/arm64"}
	}
	return Platform{OS: os, Architecture: arch}, nil
}

// String returns the form that ParsePlatform reads.
func (p Platform) String() string {
	if p == (Platform{}) {
		return ""
	}
	return p.OS + "/" + p.Architecture
}

// Machine is what the kernel, rpm and dnf call the architecture: x86_64, aarch64.
func (p Platform) Machine() string {
	switch p.Architecture {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return p.Architecture
}

// MarshalText returns String.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses strictly.
func (p *Platform) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePlatform(string(b))
	return err
}
