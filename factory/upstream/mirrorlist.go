package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// mirrorListLimit is how large a mirror list may be, in bytes.
const mirrorListLimit = 1 << 20

// locate asks the mirror lists where their repositories are now. Nothing of an earlier answer is remembered.
func (s Solver) locate(ctx context.Context, all []yum) error {
	errs := make([]error, len(all))
	var asking sync.WaitGroup
	for i := range all {
		if all[i].MirrorList != "" {
			asking.Go(func() { errs[i] = s.follow(ctx, &all[i]) })
		}
	}
	asking.Wait()
	return errors.Join(distinct(errs)...)
}

func (s Solver) follow(ctx context.Context, y *yum) error {
	file := y.vars.Replace(y.MirrorList)
	down := func(cause error) error {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("archive %s: %s: the archive does not answer", y, path.Base(file)), Cause: nameless(cause)}
	}
	c, err := s.clientOf(y.ID)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, y.root+"/"+file, nil)
	if err != nil {
		return down(err)
	}
	res, err := c.Do(req)
	if err != nil {
		return down(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return down(errors.New(res.Status))
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, mirrorListLimit))
	if err != nil {
		return down(err)
	}
	folder, err := parseMirrorList(b, *y)
	if err != nil {
		return &factory.Problem{Kind: factory.ErrUnverified, What: fmt.Sprintf("archive %s: %s: %v", y, path.Base(file), err),
			Hint: "set archives: " + y.ID + " in factory.yaml to the root that the list names; a mirror must rewrite its lists to name itself"}
	}
	y.folder = folder
	return nil
}

// parseMirrorList returns the folder below the archive's URL that the first line of a mirror list names.
func parseMirrorList(b []byte, y yum) (string, error) {
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		u, err := url.Parse(y.vars.Replace(line))
		if err != nil || u.Host == "" || u.User != nil {
			return "", errors.New("its first line is not the URL of a repository")
		}
		u.RawQuery, u.Fragment = "", ""
		folder, ok := strings.CutPrefix(strings.TrimRight(u.String(), "/"), y.root+"/")
		if !ok || !below(folder) {
			return "", errors.New("it names a repository that is not below the archive's URL")
		}
		return folder, nil
	}
	return "", errors.New("it names no repository")
}

// clientOf returns the client for an archive, with its entitlement.
func (s Solver) clientOf(id string) (*http.Client, error) {
	c, e := *client(s.HTTP), s.Entitlements[id]
	if e == (factory.Entitlement{}) {
		return &c, nil
	}
	bad := func(err error) (*http.Client, error) {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "the client certificate of archive " + id + " cannot be used", Cause: err, Hint: "look at entitlements: " + id + " in factory.yaml"}
	}
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		transport, _ = http.DefaultTransport.(*http.Transport)
	}
	transport = transport.Clone()
	transport.DisableKeepAlives = true // nobody closes it
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{}
	}
	if e.Cert != "" || e.Key != "" {
		pair, err := tls.LoadX509KeyPair(e.Cert, e.Key)
		if err != nil {
			return bad(err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	if e.CA != "" {
		pem, err := os.ReadFile(e.CA)
		if err != nil {
			return bad(err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return bad(fmt.Errorf("%s holds no certificates", e.CA))
		}
	}
	c.Transport, c.CheckRedirect = transport, staySecure(c.CheckRedirect)
	return &c, nil
}

// nameless is a network error without the host that it is about.
func nameless(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return errBadCertificate
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return errBadCertificate
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	for o, ok := errors.AsType[*net.OpError](err); ok; o, ok = errors.AsType[*net.OpError](err) { // a proxy's is in another
		err = o.Err
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		err = errors.New(d.Err)
	}
	return err
}

var (
	errBadCertificate = errors.New("its own certificate does not hold: the authorities of it are not known here, or it is another's")
	errPlain          = errors.New("it leads from https to http")
)

// staySecure follows redirects as [http.Client] does, but not to where everybody could listen.
func staySecure(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		switch {
		case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
			return errPlain
		case next != nil:
			return next(req, via)
		case len(via) >= 10:
			return errors.New("it redirects for ever")
		}
		return nil
	}
}

// distinct drops errors that say the same, as those of several platforms do.
func distinct(errs []error) (all []error) {
	seen := map[string]bool{}
	for _, err := range errs {
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			all = append(all, err)
		}
	}
	return all
}
