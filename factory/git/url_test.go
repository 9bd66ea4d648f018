package git

import (
	"strings"
	"testing"
)

var urls = map[string]string{
	"https://git.example.invalid/a.git":            "https://git.example.invalid/a.git",
	"https://token@git.example.invalid/a.git":      "https://git.example.invalid/a.git",
	"https://u:p@git.example.invalid/a?t=secret#f": "https://git.example.invalid/a",
	"ssh://git@example.invalid:22/a.git":           "ssh://git@example.invalid:22/a.git",
	"ssh://git:secret@example.invalid/a.git":       "ssh://git@example.invalid/a.git",
	"ssh://example.invalid/a.git":                  "ssh://example.invalid/a.git",
	"git@example.invalid:a/b.git":                  "git@example.invalid:a/b.git",
	"example.invalid:a/b.git":                      "example.invalid:a/b.git",
	"/srv/git/a.git":                               "",
	"../a.git":                                     "",
	"file:///srv/a.git":                            "",
	"./odd:name":                                   "",
	"a@b@c:d":                                      "",
	"user:secret@example.invalid:a":                "",
	"ext::sh secret":                               "",
	"https://%zz:secret@example.invalid/a":         "",
	"":                                             "",
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	for raw, want := range urls {
		if got := publicURL(raw); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

// FuzzPublicURL: a password never comes through.
func FuzzPublicURL(f *testing.F) {
	for raw := range urls {
		f.Add(raw, "x")
	}
	f.Fuzz(func(t *testing.T, host, path string) {
		for _, scheme := range []string{"https", "ssh"} {
			if got := publicURL(scheme + "://user:Pa55word@" + host + "/" + path); strings.Contains(strings.ReplaceAll(got, host+"/"+path, ""), "Pa55word") {
				t.Errorf("%q", got)
			}
		}
		_ = publicURL(host)
	})
}
