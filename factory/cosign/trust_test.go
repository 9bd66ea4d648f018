package cosign

import (
	"errors"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Check finds what is wrong with the options where there is no network at all.
func TestOptionsAreJudgedAlone(t *testing.T) {
	t.Parallel()
	_, pub := newSigner(t)
	junk := write(t, "junk", "{}")
	keyless := func(root string) VerifyOptions {
		return VerifyOptions{Identity: "a@example.com", Issuer: "https://i.example.com", TrustedRoot: root}
	}
	for what, tc := range map[string]struct {
		o    VerifyOptions
		kind error
		says string
	}{
		"key":                  {VerifyOptions{Key: pub}, nil, ""},
		"key in a service":     {VerifyOptions{Key: "hashivault://factory"}, nil, ""},
		"keyless":              {keyless(""), nil, ""},
		"keyless, own root":    {keyless(newSigstore(t).root), nil, ""},
		"nobody":               {VerifyOptions{}, factory.ErrInvalid, "nobody to trust"},
		"no issuer":            {VerifyOptions{Identity: "a@example.com"}, factory.ErrInvalid, "identity without issuer: a@example.com"},
		"no identity":          {VerifyOptions{Issuer: "https://i.example.com"}, factory.ErrInvalid, "issuer without identity: https://i.example.com"},
		"no such key":          {VerifyOptions{Key: "/nonexistent"}, factory.ErrNotFound, "/nonexistent"},
		"a key that is none":   {VerifyOptions{Key: junk}, factory.ErrInvalid, "is not a public key"},
		"unknown service":      {VerifyOptions{Key: "magic://factory"}, factory.ErrInvalid, "unknown key service"},
		"no such root":         {keyless("/nonexistent"), factory.ErrInvalid, "trusted root /nonexistent"},
		"a root that is none":  {keyless(junk), factory.ErrInvalid, "trusted root " + junk},
		"key, and a bad root":  {VerifyOptions{Key: pub, RequireLog: true, TrustedRoot: junk}, factory.ErrInvalid, "trusted root " + junk},
		"key, and a good root": {VerifyOptions{Key: pub, RequireLog: true, TrustedRoot: newSigstore(t).root}, nil, ""},
	} {
		err := tc.o.Check()
		if !errors.Is(err, tc.kind) || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
