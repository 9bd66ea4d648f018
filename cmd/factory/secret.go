package main

import (
	"os"
	"regexp"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// secret resolves a reference. An empty reference is an empty secret.
func secret(ref string, env func(string) (string, bool)) ([]byte, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		v, set := env(name)
		if !set {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "the environment has no " + name, Hint: "export it, or change the reference " + ref}
		}
		return []byte(v), nil
	}
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "secret " + ref, Cause: err}
		}
		return []byte(strings.TrimRight(string(b), "\r\n")), nil
	}
	return nil, nil
}

// Where passwords stand in a URL: before the last @, whatever they contain, and in the query.
var (
	userPassword  = regexp.MustCompile(`^([^:@?]*):[^?]*@`)
	queryPassword = regexp.MustCompile(`(?i)([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*`)
)

// withoutPassword is a setting as it may be shown. References to secrets (env:NAME) are none.
func withoutPassword(v string) string {
	scheme, rest, ok := strings.Cut(v, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", v
	}
	return scheme + queryPassword.ReplaceAllString(userPassword.ReplaceAllString(rest, "$1:(hidden)@"), "$1(hidden)")
}
