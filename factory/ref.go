package factory

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Ref is what stands for an image in a registry: a repository with a tag, a digest, or both. The zero value is no
// reference.
type Ref struct {
	Repository string // host, and port if any, and path: registry.example.com:5000/base/debian-12
	Tag        string // of any grammar; empty = none
	Digest     Digest
}

const (
	refHost = `(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?`
	refPart = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
)

var (
	refRepository = regexp.MustCompile(`^` + refHost + `/` + refPart + `(?:/` + refPart + `)*$`)
	refTag        = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

// ParseRef reads repository:tag, repository@digest or repository:tag@digest, and exactly what String writes. The
// repository names its host, because one without would silently be Docker Hub's, and nothing stands for latest.
// ErrInvalid otherwise.
func ParseRef(s string) (Ref, error) {
	repository, digest, hasDigest := strings.Cut(s, "@")
	var tag string
	i := strings.LastIndexByte(repository, ':')
	hasTag := i > strings.LastIndexByte(repository, '/')
	if hasTag {
		repository, tag = repository[:i], repository[i+1:]
	}
	r, err := ParseRepository(repository)
	if err != nil {
		return Ref{}, err
	}
	if !hasTag && !hasDigest {
		return Ref{}, &Problem{Kind: ErrInvalid, What: fmt.Sprintf("reference %.120q has neither tag nor digest", s), Hint: "write repository:tag or repository@sha256:…; the factory never uses latest"}
	}
	if hasTag && !refTag.MatchString(tag) {
		return Ref{}, &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.120q is not a tag", tag)}
	}
	r.Tag = tag
	if hasDigest {
		r.Digest, err = ParseDigest(digest)
	}
	if err != nil {
		return Ref{}, err
	}
	return r, nil
}

// ParseRepository reads a Ref that has neither tag nor digest: host and path, as strictly as ParseRef.
func ParseRepository(s string) (Ref, error) {
	host, name, _ := strings.Cut(s, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" || name == "" {
		return Ref{}, &Problem{Kind: ErrInvalid, What: fmt.Sprintf("repository %.120q names no registry", s), Hint: "write it like registry.example.com/base/debian-12"}
	}
	_, err := url.Parse("//" + host) // knows IPv6
	if err != nil || len(name) > 255 || !refRepository.MatchString(s) {
		return Ref{}, &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.120q is not a repository", s), Hint: "a path has lower-case letters and digits, with . _ or - between them"}
	}
	return Ref{Repository: s}, nil
}

// String returns the reference as ParseRef reads it.
func (r Ref) String() string {
	s := r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// Name returns the last part of the repository's path, which is the image's name.
func (r Ref) Name() string { return path.Base(r.Repository) }

// On reports whether the repository's host is one of hosts, which are written with their port, or without for any.
func (r Ref) On(hosts []string) bool {
	host, _, _ := strings.Cut(r.Repository, "/")
	return slices.Contains(hosts, host) || slices.Contains(hosts, (&url.URL{Host: host}).Hostname())
}
