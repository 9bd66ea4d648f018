package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func noEnv(string) (string, bool) { return "", false }

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := loadConfig(map[string]string{"dir": dir}, "", noEnv, noArchives)
	must(t, err)
	if c.Dir != dir || c.State != dir+"/.factory" || c.Database != dir+"/.factory/factory.db" || c.Key != dir+"/.factory/keys/cosign.key" ||
		!c.Embedded || c.Registry != "127.0.0.1:5117" || c.Buildkit != "" || c.BuildkitCache != 10<<30 || c.Width != 2 || c.MaxAge != 7*24*time.Hour ||
		c.Env != factory.Dev || c.Progress != "auto" || len(c.Archives) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestConfigPrecedence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "factory.yaml")
	must(t, os.WriteFile(file, []byte("width: 3\n\"registry\": r.example/base/\nbuildkit: tcp://b:1\narchives: {debian: http://file.invalid/debian}\nrekor:\n"), 0o600))
	host := func() (map[string]string, error) {
		return map[string]string{"debian": "http://host.invalid/debian", "debian-security": "http://host.invalid/debian-security"}, nil
	}
	env := map[string]string{"FACTORY_WIDTH": "4", "FACTORY_MAX_AGE": "", "BUILDKIT_HOST": "tcp://e:1"}
	c, err := loadConfig(map[string]string{"dir": dir, "width": "5"}, "", func(n string) (string, bool) { v, ok := env[n]; return v, ok }, host)
	must(t, err)
	if c.Width != 5 || c.values["width"].Origin != "--width" || c.Buildkit != "tcp://e:1" || c.values["buildkit"].Origin != "BUILDKIT_HOST" ||
		c.Registry != "r.example/base" || c.Embedded || c.values["registry"].Origin != "factory.yaml:2" || c.values["rekor"] != (value{"", "default"}) {
		t.Errorf("%+v", c.values)
	}
	if c.Archives["debian"] != "http://file.invalid/debian" || c.archives["debian"] != "factory.yaml" || c.archives["debian-security"] != "apt configuration of this host" {
		t.Errorf("%v %v", c.Archives, c.archives)
	}
	env["FACTORY_DIR"] = dir
	c, err = loadConfig(nil, "", func(n string) (string, bool) { v, ok := env[n]; return v, ok }, host)
	if err != nil || c.Dir != dir || c.values["dir"].Origin != "FACTORY_DIR" || c.Width != 4 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestConfigIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file  string
		flags map[string]string
		want  []string
	}{
		"all at once":        {"", map[string]string{"width": "65", "max-age": "-1h", "env": "qa", "progress": "x", "buildkit-cache": "0GiB"}, []string{"width", "max-age", "env", "progress", "buildkit-cache"}},
		"unknown":            {"a: 1\nwidht: 2\n", nil, []string{`factory.yaml:1: unknown or malformed setting "a"`, `factory.yaml:2: unknown or malformed setting "widht"`}},
		"dir in its own dir": {"dir: /x\n", nil, []string{`setting "dir"`}},
		"mapping":            {"width: {a: 1}\n", nil, []string{`setting "width"`}},
		"archives as text":   {"archives: x\n", nil, []string{`setting "archives"`}},
		"no YAML":            {"a: [", nil, []string{"not YAML"}},
		"a list":             {"- a\n", nil, []string{"not YAML"}},
		"a secret":           {"key-password: hunter2\n", nil, []string{"key-password", "never the secret itself"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "factory.yaml"), []byte(c.file), 0o600))
			flags := map[string]string{"dir": dir}
			for k, v := range c.flags {
				flags[k] = v
			}
			_, err := loadConfig(flags, "", noEnv, noArchives)
			if !errors.Is(err, factory.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %s", err, want)
				}
			}
		})
	}
	if _, err := loadConfig(nil, filepath.Join(t.TempDir(), "none.yaml"), noEnv, noArchives); !errors.Is(err, factory.ErrInvalid) {
		t.Errorf("a file that was named and is not there: %v", err)
	}
}

// README's table is what people read; settings is what counts.
func TestReadmeNamesEverySetting(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no README.md yet, which tests/house minds")
	}
	must(t, err)
	for _, s := range settings {
		row := slices.ContainsFunc(strings.Split(string(b), "\n"), func(l string) bool {
			return strings.HasPrefix(l, "|") && strings.Contains(l, "`"+s.Key+"`") && strings.Contains(l, "`"+s.Env+"`")
		})
		if !row {
			t.Errorf("README.md: no table row with `%s` and `%s`", s.Key, s.Env)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pw")
	must(t, os.WriteFile(file, []byte("from file\r\n"), 0o600))
	env := func(name string) (string, bool) { return "from env\n", name == "PW" }
	for ref, want := range map[string]string{"": "", "env:PW": "from env\n", "file:" + file: "from file"} {
		if got, err := secret(ref, env); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", ref, got, err)
		}
	}
	for _, ref := range []string{"env:NONE", "file:" + file + "x"} {
		if _, err := secret(ref, env); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://me:pw@h/d":                          "postgres://me:(hidden)@h/d",
		"postgres://me:p:/@w@h:5432/d":                  "postgres://me:(hidden)@h:5432/d",
		"postgres://me@h/d?sslmode=on":                  "postgres://me@h/d?sslmode=on",
		"postgres://h/d?user=me&password=pw&sslmode=on": "postgres://h/d?user=me&password=(hidden)&sslmode=on",
		"postgres://h/d?SSLPassword=pw":                 "postgres://h/d?SSLPassword=(hidden)",
		"me:pw@registry.example/base":                   "me:(hidden)@registry.example/base",
		"registry.example:5000/base":                    "registry.example:5000/base",
		"/path/to/factory.db":                           "/path/to/factory.db",
		"env:NAME":                                      "env:NAME",
		"me@example.com":                                "me@example.com",
		"hashivault://key":                              "hashivault://key",
		"":                                              "",
	} {
		if got := withoutPassword(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzWithoutPassword(f *testing.F) {
	f.Add("pw", "?sslmode=on")
	f.Add("a:b@c/d", "")
	f.Fuzz(func(t *testing.T, password, rest string) {
		if strings.Contains(password, "?") || password == "" {
			t.Skip()
		}
		secret := "<" + password + ">"
		shown := withoutPassword("postgres://me:" + secret + "@db.invalid/f" + rest)
		if !strings.Contains(rest, secret) && strings.Contains(shown, secret) {
			t.Errorf("%q is shown: %q", secret, shown)
		}
	})
}

func FuzzParseAge(f *testing.F) {
	for _, s := range []string{"7d", "36h", "0d", "-1h", "1d12h", "65536d", "d", "9223372036s", "99999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseAge(s)
		if err == nil && d <= 0 {
			t.Errorf("%q is %v", s, d)
		}
		if days, ok := strings.CutSuffix(s, "d"); ok && err == nil && (d%(24*time.Hour) != 0 || strings.Trim(days, "0123456789") != "") {
			t.Errorf("%q is %v", s, d)
		}
	})
}

func FuzzParseBytes(f *testing.F) {
	for _, s := range []string{"10GiB", "512MiB", "0GiB", "-1MiB", "2147483647GiB", "10GB", "GiB", "+1GiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseBytes(s)
		if err == nil && (n <= 0 || n%(1<<20) != 0) {
			t.Errorf("%q is %d", s, n)
		}
	})
}

func TestPublicKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"a.key": "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "b.pem": "-----BEGIN PRIVATE KEY-----", "c.pem": "-----BEGIN PUBLIC KEY-----", "d.key": "-----BEGIN PUBLIC KEY-----"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	for in, want := range map[string]string{"a.key": "a.pub", "b.pem": "b.pem.pub", "c.pem": "c.pem", "d.key": "d.key", "none.key": "none.pub", "none.pub": "none.pub"} {
		if got := publicKey(filepath.Join(dir, in)); got != filepath.Join(dir, want) {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
