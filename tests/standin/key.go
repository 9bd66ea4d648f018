package standin

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// born is when keys were made and packages were built: long before anything is published.
var born = time.Date(2022, 3, 1, 12, 0, 0, 0, time.UTC)

// Key signs packages and metadata. Its private half exists in memory only.
type Key struct {
	entity *openpgp.Entity
	made   sync.Map // digest of a text → its signature: the same text has the same one, and RSA is slow
}

// NewKey makes an RSA key of 2048 bits.
func NewKey(name string) (*Key, error) {
	raw, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	private := packet.NewRSAPrivateKey(born, raw)
	uid := packet.NewUserId(name, "stand-in", "security@standin.invalid")
	if uid == nil {
		return nil, fmt.Errorf("key %q: not a name", name)
	}
	primary := true
	self := &packet.Signature{
		Version: private.Version, SigType: packet.SigTypePositiveCert, PubKeyAlgo: private.PubKeyAlgo, Hash: crypto.SHA256, CreationTime: born,
		IssuerKeyId: &private.KeyId, IssuerFingerprint: private.Fingerprint, IsPrimaryId: &primary, FlagsValid: true, FlagSign: true, FlagCertify: true,
	}
	if err := self.SignUserId(uid.Id, &private.PublicKey, private, settings(born)); err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return &Key{entity: &openpgp.Entity{
		PrimaryKey: &private.PublicKey, PrivateKey: private,
		Identities: map[string]*openpgp.Identity{uid.Id: {Name: uid.Id, UserId: uid, SelfSignature: self, Signatures: []*packet.Signature{self}}},
	}}, nil
}

// keys are those of this process, by name: making one, and signing everything with it, is what takes longest.
var keys = struct {
	sync.Mutex
	made map[string]*Key
}{made: map[string]*Key{}}

// keyFor is the process's key of a name.
func keyFor(name string) (*Key, error) {
	keys.Lock()
	defer keys.Unlock()
	if k := keys.made[name]; k != nil {
		return k, nil
	}
	k, err := NewKey(name)
	if err == nil {
		keys.made[name] = k
	}
	return k, err
}

// stranger is a key that no definition pins.
func stranger() (*Key, error) { return keyFor("Stand-in for nobody") }

// Armored is the public key as text.
func (k *Key) Armored() string {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = k.entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return b.String() + "\n"
}

// Fingerprint is that of the primary key, upper-case hex.
func (k *Key) Fingerprint() string {
	return strings.ToUpper(fmt.Sprintf("%x", k.entity.PrimaryKey.Fingerprint))
}

// settings make the same signature of the same text.
func settings(at time.Time) *packet.Config {
	salted := false
	return &packet.Config{DefaultHash: crypto.SHA256, Time: func() time.Time { return at }, NonDeterministicSignaturesViaNotation: &salted}
}

// detached returns a binary signature of b.
func (k *Key) detached(b []byte) ([]byte, error) {
	digest := sha256.Sum256(b)
	if sig, ok := k.made.Load(digest); ok {
		return sig.([]byte), nil
	}
	var sig bytes.Buffer
	err := openpgp.DetachSign(&sig, k.entity, bytes.NewReader(b), settings(born))
	if err == nil {
		k.made.Store(digest, sig.Bytes())
	}
	return sig.Bytes(), err
}

// armored returns the signature of a text as text, made at an instant.
func (k *Key) armored(text io.Reader, at time.Time) ([]byte, error) {
	var sig bytes.Buffer
	err := openpgp.ArmoredDetachSign(&sig, k.entity, text, settings(at))
	sig.WriteByte('\n')
	return sig.Bytes(), err
}
