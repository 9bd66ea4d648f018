package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// transient reports whether asking again can help.
func transient(err error) bool {
	var (
		answer *transport.Error
		ours   *factory.Problem
		file   *fs.PathError
		cert   *tls.CertificateVerificationError
		dns    *net.DNSError
	)
	switch {
	case errors.As(err, &ours), errors.As(err, &file), errors.As(err, &cert):
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
	case errors.As(err, &answer):
		// An upload session that is gone or damaged (the registry restarted) is begun anew.
		return busy(answer.StatusCode) || has(answer, transport.BlobUploadInvalidErrorCode, transport.BlobUploadUnknownErrorCode)
	}
	return true
}

func busy(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests || status == 499
}

func has(e *transport.Error, codes ...transport.ErrorCode) bool {
	return slices.ContainsFunc(e.Errors, func(d transport.Diagnostic) bool { return slices.Contains(codes, d.Code) })
}

// problem translates what a registry answered into the factory's words.
func problem(host, what string, err error) error {
	var ours *factory.Problem
	if errors.As(err, &ours) {
		return err
	}
	p := &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("registry %s: %s", host, what), Cause: cause(err)}
	var (
		answer *transport.Error
		file   *fs.PathError
		cert   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &file):
		p.Kind = nil
	case errors.As(err, &cert):
		p.Kind, p.Hint = factory.ErrUnverified, "its certificate is not trusted on this machine; install its CA, or allow plain HTTP for this host if it has none"
	case errors.As(err, &answer):
		p.Kind, p.Hint = verdict(host, answer)
	default:
		p.Hint = "check the registry's name and the network"
	}
	return p
}

func verdict(host string, e *transport.Error) (kind error, hint string) {
	switch {
	case e.StatusCode == http.StatusUnauthorized:
		return factory.ErrInvalid, "it wants other credentials: docker login " + host
	case e.StatusCode == http.StatusForbidden:
		return factory.ErrInvalid, "these credentials may not do that; ask for the right to push, or: docker login " + host
	case e.StatusCode == http.StatusNotFound:
		return factory.ErrNotFound, ""
	case e.StatusCode == http.StatusConflict:
		return factory.ErrConflict, "it keeps what it has; find out who pushed that before anything else"
	case has(e, transport.DigestInvalidErrorCode, transport.SizeInvalidErrorCode):
		return factory.ErrUnverified, "the bytes that arrived are not the bytes that were sent"
	case e.StatusCode == http.StatusTooManyRequests, e.StatusCode >= 500:
		return factory.ErrUnavailable, ""
	}
	return factory.ErrInvalid, ""
}

// cause drops the URL that net/http puts before an error: it repeats the host, and can carry a signed query.
func cause(err error) error {
	if errors.Is(err, errStalled) {
		return errStalled
	}
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}
