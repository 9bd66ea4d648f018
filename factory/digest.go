package factory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is a content address in OCI form, "sha256:" and 64 lower-case hex digits. The zero value is "no digest".
type Digest string

// ParseDigest accepts the OCI form only. It returns ErrInvalid otherwise.
func ParseDigest(s string) (Digest, error) {
	hexPart, ok := strings.CutPrefix(s, "sha256:")
	if !ok || !isHex(hexPart, 64) {
		return "", &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.80q is not a digest", s), Hint: "expected sha256: and 64 lower-case hex digits"}
	}
	return Digest(s), nil
}

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Hex returns the digest without its algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), "sha256:") }

// Short returns the first twelve hex digits, for people.
func (d Digest) Short() string {
	if h := d.Hex(); len(h) > 12 {
		return h[:12]
	}
	return d.Hex()
}

// UnmarshalText parses strictly; an empty text is the zero value.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = ""
		return nil
	}
	v, err := ParseDigest(string(b))
	*d = v
	return err
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
