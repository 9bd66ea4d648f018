package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestEntitlements(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "factory.yaml"), []byte("entitlements:\n  redhat: {cert: /etc/pki/x.pem, key: \"file:/etc/pki/x-key.pem\", ca: /etc/ca.pem}\n"), 0o600))
	host := func() (map[string]string, error) { return map[string]string{"amazonlinux": "http://host.invalid"}, nil }
	c, err := loadConfig(map[string]string{"dir": dir}, "", noEnv, host)
	must(t, err)
	if want := map[string]factory.Entitlement{"redhat": {Cert: "/etc/pki/x.pem", Key: "/etc/pki/x-key.pem", CA: "/etc/ca.pem"}}; !maps.Equal(c.Entitlements, want) {
		t.Errorf("%v, want %v", c.Entitlements, want)
	}
	if c.archives["amazonlinux"] != "dnf configuration of this host" {
		t.Errorf("origin %q", c.archives["amazonlinux"])
	}
}

// A mistake is told with its line, and what was written is not: it may be the key itself.
func TestEntitlementsAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"entitlements: {redhat: x}":                                       "redhat is no mapping",
		"entitlements: {redhat: {cert: /a}}":                              "redhat needs cert and key",
		"entitlements: {redhat: {cert: /a, key: /b, pin: 1}}":             `redhat has no "pin"`,
		"entitlements: {redhat: {cert: /a, key: [x]}}":                    "redhat.key is no absolute path",
		"entitlements: {redhat: {cert: /a, key: \"BEGIN RSA hunter2\"}}":  "redhat.key is no absolute path of a file",
		"width: 3\nentitlements: {redhat: {cert: a.pem, key: /b}}":        "factory.yaml:2: entitlements: redhat.cert",
		"entitlements: [redhat]":                                          `malformed setting "entitlements"`,
		"entitlements: {a: {cert: /a, key: /b}, b: {cert: /a, keys: /b}}": "b needs cert and key",
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "factory.yaml"), []byte(text), 0o600))
		_, err := loadConfig(map[string]string{"dir": dir}, "", noEnv, noArchives)
		if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}
