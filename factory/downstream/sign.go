package downstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// The headers of a signed webhook: those of the Standard Webhooks specification, and which secrets signed.
const (
	HeaderID        = "Webhook-Id"        // idempotency key
	HeaderTimestamp = "Webhook-Timestamp" // Unix seconds of this attempt
	HeaderSignature = "Webhook-Signature" // v1,BASE64 for each secret, with spaces between them
	HeaderKey       = "Webhook-Key-Id"    // KeyID of each secret, in the same order
)

// DefaultTolerance is how far a receiver's clock and the factory's may be apart where nobody says otherwise.
const DefaultTolerance = 5 * time.Minute

// minSecret is in characters.
const minSecret = 16

// KeyID names a secret without saying it: the first eight hex digits of the SHA-256 of its bytes.
func KeyID(secret string) string {
	sum := sha256.Sum256(keyOf(secret))
	return hex.EncodeToString(sum[:4])
}

// keyOf is the key of an HMAC: whsec_ stands before one in base64, anything else is the key as it is.
func keyOf(secret string) []byte {
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			return key
		}
	}
	return []byte(secret)
}

// Sign returns the headers that prove id, time and body to whoever has the secret. During a rotation there are several secrets, with
// white space between them, and each signs. The error, of a secret that is missing or shorter than 16 characters, does not say it.
func Sign(id string, body []byte, secrets string, at time.Time) (http.Header, error) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	var signatures, keys []string
	for secret := range strings.FieldsSeq(secrets) {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("a secret has fewer than %d characters", minSecret)
		}
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(sum(secret, id, stamp, body)))
		keys = append(keys, KeyID(secret))
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no secret")
	}
	h := http.Header{}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
	h.Set(HeaderKey, strings.Join(keys, " "))
	return h, nil
}

func sum(secret, id, stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, keyOf(secret))
	_, _ = mac.Write([]byte(id + "." + stamp + "."))
	_, _ = mac.Write(body)
	return mac.Sum(nil)
}

// Verify is what a receiver does with a webhook's headers and its body as it came: one of the signatures must be right by one of the
// secrets, of which there may be several with white space between them, and the time of signing must not be further from now than the
// tolerance, neither before nor after it; 0 means DefaultTolerance. ErrUnverified otherwise. Within the tolerance a receiver refuses
// replays by remembering HeaderID: a delivery that is repeated by the factory has the same one, and has been dealt with, too.
func Verify(header http.Header, body []byte, secret string, now time.Time, tolerance time.Duration) error {
	if tolerance <= 0 {
		tolerance = DefaultTolerance
	}
	id, stamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseUint(stamp, 10, 40)
	if err != nil || id == "" {
		return unverified("it has no " + HeaderID + " and " + HeaderTimestamp + " that can be read")
	}
	if apart := now.Sub(time.Unix(int64(seconds), 0)); apart.Abs() > tolerance {
		return unverified(fmt.Sprintf("it was signed %s before now, more than %s away: a replay, or a clock that is wrong", apart.Round(time.Second), tolerance))
	}
	for given := range strings.FieldsSeq(header.Get(HeaderSignature)) {
		version, encoded, _ := strings.Cut(given, ",")
		mac, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || version != "v1" {
			continue // of a version to come
		}
		for s := range strings.FieldsSeq(secret) {
			if len(s) >= minSecret && hmac.Equal(mac, sum(s, id, stamp, body)) {
				return nil
			}
		}
	}
	return unverified("no signature of it is made with this secret")
}

func unverified(what string) error {
	return &factory.Problem{Kind: factory.ErrUnverified, What: "webhook: " + what}
}
