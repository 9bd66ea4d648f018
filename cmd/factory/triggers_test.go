package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func TestServers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"url: https://git.example.com/api, token: env:T, user: me, per-minute: 5": "",
		"url: http://127.0.0.1:8080, token: file:/x":                              "",
		"url: http://localhost, token: env:T":                                     "",
		"url: http://git.example.com, token: env:T":                               "git.url is not encrypted",
		"url: https://me:hunter2@git.example.com, token: env:T":                   "git.url has more than a host and a path",
		"url: \"https://git.example.com?token=hunter2\", token: env:T":            "git.url has more than a host and a path",
		"url: git.example.com, token: env:T":                                      "git.url is no URL",
		"token: env:T":                                                            "git.url is no URL",
		"url: https://git.example.com, token: hunter2":                            "git.token is no reference",
		"url: https://git.example.com":                                            "git.token is no reference",
		"url: https://git.example.com, token: env:T, read-token: file:/x":         "",
		"url: https://git.example.com, token: env:T, read-token: hunter2":         "git.read-token is no reference",
		"url: https://git.example.com, token: env:T, per-minute: 0":               "git.per-minute is no number",
		"url: https://git.example.com, token: env:T, per-minute: fast":            "git.per-minute is no number",
		"url: https://git.example.com, token: env:T, user: 7":                     "git.user is no text",
		"url: https://git.example.com, token: env:T, password: hunter2":           `git has no "password"`,
	} {
		c := &config{Archives: map[string]string{}, archives: map[string]string{}, Servers: map[string]factory.Server{}}
		_, err := c.readFile(configured(t, "servers:\n  git: {"+text+"}\n"), true)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (!errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	c := &config{Servers: map[string]factory.Server{}}
	if _, err := c.readFile(configured(t, "servers:\n  git: https://git.example.com\n"), true); err == nil {
		t.Error("a server is a mapping")
	}
	if _, err := c.readFile(configured(t, "servers:\n"), true); err != nil {
		t.Error(err)
	}
}

// configured is a factory.yaml with a text.
func configured(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "factory.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestTallies(t *testing.T) {
	t.Parallel()
	if got := (tally{Delivered: 3}).String(); got != "triggers: 3 delivered, 0 waiting, 0 dead" {
		t.Error(got)
	}
	if got := (tally{Dead: 1}).String(); !strings.HasSuffix(got, "1 dead; see why: factory triggers list --status dead") {
		t.Error(got)
	}
	var none *courier
	none.nudge()
	if none.finish(t.Context(), true) != nil {
		t.Error("nobody delivered something")
	}
	now := time.Now()
	c := &command{app: &app{w: world{Now: func() time.Time { return now }}}}
	if got := c.when(factory.Trigger{Due: now.Add(time.Hour)}); !strings.HasPrefix(got, "from ") {
		t.Error(got)
	}
}
