package upstream

import (
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/imagefactory/imagefactory/factory"
)

// pinnedKeys checks that every key of a definition is the one whose fingerprint it pins, and only that. It returns what is worth a
// warning: a key that has expired still vouches for what it signed before.
func pinnedKeys(img factory.Image, now time.Time) (warnings []string, err error) {
	if len(img.Keys) == 0 {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, Where: img.Where, What: img.Name + " pins no keys", Hint: "name the keys that sign its packages under keys"}
	}
	for _, k := range img.Keys {
		bad := func(format string, args ...any) ([]string, error) {
			return nil, &factory.Problem{Kind: factory.ErrUnverified, Where: img.Where, What: fmt.Sprintf("%s: key file %s ", img.Name, k.File) + fmt.Sprintf(format, args...),
				Hint: "gpg --show-keys says what is in the file; compare it with what the distribution publishes"}
		}
		if strings.Count(k.Armored, "-----BEGIN ") != 1 {
			return bad("must hold one armored key")
		}
		ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(k.Armored))
		if err != nil {
			return bad("is not a public key: %v", err)
		}
		if len(ring) != 1 || ring[0].PrivateKey != nil {
			return bad("must hold one public key and nothing else")
		}
		if got := fmt.Sprintf("%X", ring[0].PrimaryKey.Fingerprint); got != k.Fingerprint {
			return bad("holds the key %s, and %s is pinned", got, k.Fingerprint)
		}
		if self, _ := ring[0].PrimarySelfSignature(); self != nil && ring[0].PrimaryKey.KeyExpired(self, now) {
			warnings = append(warnings, fmt.Sprintf("the key in %s has expired: what it signed since does not count", k.File))
		}
	}
	return warnings, nil
}
