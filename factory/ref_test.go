package factory_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestParseRef(t *testing.T) {
	digest := factory.DigestOf(nil)
	for s, want := range map[string]factory.Ref{
		"r.example.com/base/debian-12:20261123-1a2b3c4d-prod": {Repository: "r.example.com/base/debian-12", Tag: "20261123-1a2b3c4d-prod"},
		"127.0.0.1:5117/debian-12@" + string(digest):          {Repository: "127.0.0.1:5117/debian-12", Digest: digest},
		"localhost/a__b.c/d--e:latest@" + string(digest):      {Repository: "localhost/a__b.c/d--e", Tag: "latest", Digest: digest},
		"[::1]:5000/x:1": {Repository: "[::1]:5000/x", Tag: "1"},
		"r.example.com/" + strings.Repeat("x", 255) + ":" + strings.Repeat("T", 128): {Repository: "r.example.com/" + strings.Repeat("x", 255), Tag: strings.Repeat("T", 128)},
	} {
		got, err := factory.ParseRef(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%q: %+v (%s), %v", s, got, got, err)
		}
	}
	for s, says := range map[string]string{
		"":                    "names no registry",
		"debian:12":           "names no registry",
		"base/debian-12:1":    "names no registry",
		"/base/debian-12:1":   "names no registry",
		"r.example.com:5000":  "names no registry",
		"r.example.com/:1":    "names no registry",
		"r.example.com/x":     "has neither tag nor digest",
		"127.0.0.1:5117/x":    "has neither tag nor digest",
		"r.example.com/x:":    "is not a tag",
		"r.example.com/x:a b": "is not a tag",
		"r.example.com/x:-":   "is not a tag",
		"r.example.com/x:1\n": "is not a tag",
		"r.example.com/x:" + strings.Repeat("t", 129):      "is not a tag",
		"r.example.com/x@":                                 "is not a digest",
		"r.example.com/x@sha256:12":                        "is not a digest",
		"r.example.com/x:@" + string(digest):               "is not a tag",
		"r.example.com/X:1":                                "is not a repository",
		"r.example.com/../x:1":                             "is not a repository",
		"r.example.com//x:1":                               "is not a repository",
		"r.example.com/x/:1":                               "is not a repository",
		"r.example.com/a___b:1":                            "is not a repository",
		"r.example.com/x:1:2":                              "is not a repository",
		"user:word@r.example.com/x:1":                      "names no registry",
		"https://r.example.com/x:1":                        "is not a repository",
		"-r.example.com/x:1":                               "is not a repository",
		"[:::::]/x:1":                                      "is not a repository",
		"r.example.com/" + strings.Repeat("x", 256) + ":1": "is not a repository",
	} {
		if got, err := factory.ParseRef(s); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), says) || got != (factory.Ref{}) {
			t.Errorf("%q: %+v, %v; want %q", s, got, err, says)
		}
	}
}

func TestParseRepository(t *testing.T) {
	r, err := factory.ParseRepository("r.example.com:5000/base/debian-12")
	if err != nil || r.Name() != "debian-12" || r.String() != "r.example.com:5000/base/debian-12" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, s := range []string{"r.example.com/x:1", "r.example.com/x@" + string(factory.DigestOf(nil)), "x", ""} {
		if _, err := factory.ParseRepository(s); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
	six, err := factory.ParseRepository("[::1]:5000/x")
	if err != nil {
		t.Fatal(err)
	}
	for host, on := range map[string]factory.Ref{"r.example.com": r, "r.example.com:5000": r, "::1": six, "[::1]:5000": six} {
		if !on.On([]string{"other", host}) {
			t.Errorf("%s is not on %s", on, host)
		}
	}
	if r.On(nil) || r.On([]string{"r.example.com:5001", "example.com"}) {
		t.Error("a host is taken for another")
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("127.0.0.1:5117/base/debian-12:20261123-1a2b3c4d-dev")
	f.Add("a.b/c:1@sha256:" + strings.Repeat("0", 64))
	f.Add("::@:")
	f.Add("[::1%25]:/x:1")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := factory.ParseRef(s)
		if err != nil {
			if !errors.Is(err, factory.ErrInvalid) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if r.String() != s || r.Tag == "" && r.Digest == "" || r.Name() == "" {
			t.Errorf("%q became %+v", s, r)
		}
		if back, err := factory.ParseRepository(r.Repository); err != nil || back.Repository != r.Repository {
			t.Errorf("%q: its repository %q: %v", s, r.Repository, err)
		}
	})
}
