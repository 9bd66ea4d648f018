package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

const databaseType = "application/vnd.aquasecurity.trivy.db.layer.v1.tar+gzip"

// artifact pushes layers by hand, as another tool would, and returns the manifest's digest.
func artifact(t *testing.T, host, tag string, layers map[string][]byte) factory.Digest {
	t.Helper()
	var list []string
	for mediaType, data := range layers {
		send(t, host, data)
		list = append(list, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, strings.TrimSuffix(mediaType, "#2"), factory.DigestOf(data), len(data)))
	}
	send(t, host, []byte("{}"))
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[%s]}`,
		factory.DigestOf([]byte("{}")), strings.Join(list, ","))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+host+"/v2/mirror/db/manifests/"+tag, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	answer(t, req)
	return factory.DigestOf([]byte(body))
}

func send(t *testing.T, host string, data []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/v2/mirror/db/blobs/uploads/", nil)
	must(t, err)
	at := answer(t, req)
	location, err := at.Request.URL.Parse(at.Header.Get("Location"))
	must(t, err)
	q := location.Query()
	q.Set("digest", string(factory.DigestOf(data)))
	location.RawQuery = q.Encode()
	req, err = http.NewRequestWithContext(t.Context(), http.MethodPut, location.String(), bytes.NewReader(data))
	must(t, err)
	answer(t, req)
}

func answer(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", req.Method, req.URL, resp.Status, body)
	}
	return resp
}

// noise is data that does not compress and does not repeat.
func noise(n int) []byte {
	b := make([]byte, 0, n+32)
	for sum := sha256.Sum256([]byte("noise")); len(b) < n; sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	return b[:n]
}

func into(b *bytes.Buffer) func(io.Reader) error {
	return func(r io.Reader) error {
		_, err := io.Copy(b, r)
		return err
	}
}

func TestPullArtifact(t *testing.T) {
	t.Parallel()
	f := front(t)
	data := noise(300_000)
	digest := artifact(t, f.host, "2", map[string][]byte{databaseType: data, "application/x-other": []byte("other")})
	for _, ref := range []string{":2", "@" + string(digest), ":2@" + string(digest)} {
		var got bytes.Buffer
		var seen events
		c := &Client{Events: seen.add}
		d, err := c.PullArtifact(t.Context(), f.host+"/mirror/db"+ref, databaseType, into(&got))
		if err != nil || d != digest || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%s: %s, %d bytes, %v", ref, d, got.Len(), err)
		}
		begin, end := seen.all[0], seen.all[len(seen.all)-1]
		if begin.Current != 0 || end.Kind != factory.Advanced || end.Current != 300_000 || end.Total != 300_000 || end.Unit != "bytes" || !strings.Contains(end.Message, ref) {
			t.Errorf("%s: told %+v … %+v", ref, begin, end)
		}
	}
	// What the function leaves is read to the end, so that the digest counts.
	if _, err := (&Client{}).PullArtifact(t.Context(), f.host+"/mirror/db:2", databaseType, func(io.Reader) error { return nil }); err != nil {
		t.Error(err)
	}
}

// Each fault passes, and every byte arrives once.
func TestPullArtifactThroughFaults(t *testing.T) {
	t.Parallel()
	data := noise(200_000)
	blobs := method("GET", "/blobs/")
	half := func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", "200000")
		_, _ = w.Write(data[:100_000])
		panic(http.ErrAbortHandler)
	}
	for name, tc := range map[string]struct {
		fault  func(http.ResponseWriter, *http.Request) bool
		waits  string
		ranges string // that were asked for
	}{
		"500 at the manifest": {first(2, method("GET", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) }), "[500ms 1s]", `[""]`},
		"503 at the layer":    {first(1, blobs, func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 503) }), "[500ms]", `["" ""]`},
		"429 at the layer, in seconds": {first(1, blobs, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "7")
			return status(w, 429)
		}), "[7s]", `["" ""]`},
		// net/http itself asks again once, on a connection that it had used before.
		"connection cut at once":       {first(2, blobs, cutConnection), "[500ms]", `["" "" ""]`},
		"connection cut in the middle": {first(1, blobs, half), "[500ms]", `["" "bytes=100000-"]`},
		"the wrong part is sent": {first(2, blobs, second(half, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 5-9/200000")
			return status(w, 206)
		})), "[500ms 1s]", `["" "bytes=100000-" "bytes=100000-"]`},
		"all is sent instead of a part": {first(2, blobs, second(half, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write(data); return true })), "[500ms]", `["" "bytes=100000-"]`},
		"all instead of a part, and cut": {first(2, blobs, second(half, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write(data[:5000]); return true })), "[500ms 1s]",
			`["" "bytes=100000-" "bytes=100000-"]`},
		"it ends too early, without a fault": {first(1, blobs, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write(data[:100_000]); return true }), "[500ms]", `["" "bytes=100000-"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := front(t)
			artifact(t, f.host, "2", map[string][]byte{databaseType: data})
			var mu sync.Mutex
			var ranges []string
			f.set(func(w http.ResponseWriter, r *http.Request) bool {
				if blobs(r) {
					mu.Lock()
					ranges = append(ranges, r.Header.Get("Range"))
					mu.Unlock()
				}
				return tc.fault(w, r)
			})
			var slept waits
			var got bytes.Buffer
			_, err := patient(&slept).PullArtifact(t.Context(), f.host+"/mirror/db:2", databaseType, into(&got))
			if err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("%d bytes, %v", got.Len(), err)
			}
			if fmt.Sprint(slept.list()) != tc.waits || fmt.Sprintf("%q", ranges) != tc.ranges {
				t.Errorf("waits %v, ranges %q", slept.list(), ranges)
			}
		})
	}
}

// second answers first with one fault, then with the other.
func second(a, b func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	count := 0
	return func(w http.ResponseWriter, r *http.Request) bool {
		if count++; count == 1 {
			return a(w, r)
		}
		return b(w, r)
	}
}

func TestPullArtifactRefuses(t *testing.T) {
	t.Parallel()
	data := noise(50_000)
	other := noise(50_001)[1:]
	blobs := method("GET", "/blobs/")
	always := func(match func(*http.Request) bool, fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return first(1<<30, match, fault)
	}
	for name, tc := range map[string]struct {
		ref    string
		layers map[string][]byte
		fault  func(http.ResponseWriter, *http.Request) bool
		kind   error
		says   string
	}{
		"no reference":       {ref: "2", kind: factory.ErrInvalid, says: "names no registry"},
		"no tag":             {ref: ":3", kind: factory.ErrNotFound, says: "read 3"},
		"another media type": {layers: map[string][]byte{"application/x-other": data}, kind: factory.ErrInvalid, says: `0 layers of that type, of 1: "application/x-other"`},
		"two layers":         {layers: map[string][]byte{databaseType: data, databaseType + "#2": other}, kind: factory.ErrInvalid, says: "2 layers of that type, of 2"},
		"not a manifest":     {fault: always(method("GET", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true }), kind: factory.ErrInvalid, says: "invalid character"},
		"a layer without size": {fault: always(method("GET", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write([]byte(`{"layers":[{"mediaType":"` + databaseType + `"}]}`))
			return true
		}), kind: factory.ErrInvalid, says: "no digest or size"},
		"the layer is missing": {fault: always(blobs, func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 404) }), kind: factory.ErrNotFound, says: "pull sha256:"},
		"other bytes":          {fault: always(blobs, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write(other); return true }), kind: factory.ErrUnverified, says: "got bytes of sha256:"},
		"more bytes": {fault: always(blobs, func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = w.Write(append(data[:50_000:50_000], 'x'))
			return true
		}), kind: factory.ErrUnverified, says: "more than its 50000 bytes"},
		"500 for ever": {fault: always(blobs, func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 500) }), kind: factory.ErrUnavailable, says: "tried 8 times"},
		"429 for an hour": {fault: always(blobs, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			return status(w, 429)
		}), kind: factory.ErrUnavailable, says: "asks for 1h0m0s more"},
		"401":                 {fault: always(blobs, func(w http.ResponseWriter, _ *http.Request) bool { return status(w, 401) }), kind: factory.ErrInvalid, says: "docker login"},
		"cut again and again": {fault: always(blobs, cutConnection), kind: factory.ErrUnavailable, says: "tried 8 times"},
		"manifest of other bytes": {ref: "@" + string(factory.DigestOf([]byte("x"))), fault: always(method("GET", "/manifests/"), func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("{}")); return true }),
			kind: factory.ErrUnverified, says: "got bytes of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := front(t)
			layers := tc.layers
			if layers == nil {
				layers = map[string][]byte{databaseType: data}
			}
			artifact(t, f.host, "2", layers)
			f.set(tc.fault)
			ref := f.host + "/mirror/db:2"
			if strings.HasPrefix(tc.ref, ":") || strings.HasPrefix(tc.ref, "@") {
				ref = f.host + "/mirror/db" + tc.ref
			} else if tc.ref != "" {
				ref = tc.ref
			}
			var slept waits
			var ended error
			_, err := patient(&slept).PullArtifact(t.Context(), ref, databaseType, func(r io.Reader) error {
				_, ended = io.Copy(io.Discard, r)
				return fmt.Errorf("unpack: %w", ended)
			})
			var p *factory.Problem
			if !errors.Is(err, tc.kind) || !strings.Contains(fmt.Sprint(err), tc.says) || !errors.As(err, &p) {
				t.Errorf("%v", err)
			}
			if ended != nil && !errors.Is(err, ended) {
				t.Errorf("the reader saw %v, the caller %v", ended, err)
			}
		})
	}
}

// A receiver that has had enough ends the transfer with its own error, also while the registry is being waited for.
func TestPullArtifactReceiverRefuses(t *testing.T) {
	t.Parallel()
	f := front(t)
	data := noise(400_000)
	artifact(t, f.host, "2", map[string][]byte{databaseType: data})
	enough := errors.New("disk is full")
	for name, to := range map[string]func(io.Reader) error{
		"at once":       func(io.Reader) error { return enough },
		"in the middle": func(r io.Reader) error { _, err := io.CopyN(io.Discard, r, 70_000); return errors.Join(enough, err) },
		"at the end":    func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return errors.Join(enough, err) },
	} {
		var slept waits
		d, err := patient(&slept).PullArtifact(t.Context(), f.host+"/mirror/db:2", databaseType, to)
		if d != "" || !errors.Is(err, enough) || len(slept.list()) > 0 {
			t.Errorf("%s: %s, %v, waits %v", name, d, err, slept.list())
		}
	}
	f.set(func(w http.ResponseWriter, r *http.Request) bool {
		return method("GET", "/blobs/")(r) && status(w, 503)
	})
	waiting := make(chan struct{})
	var once sync.Once
	c := &Client{Retry: Retry{Sleep: func(ctx context.Context, _ time.Duration) error {
		once.Do(func() { close(waiting) })
		<-ctx.Done()
		return context.Cause(ctx)
	}}}
	if _, err := c.PullArtifact(t.Context(), f.host+"/mirror/db:2", databaseType, func(io.Reader) error { <-waiting; return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestPullArtifactCancelled(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/manifests/"):
			sum := sha256.Sum256(nil)
			fmt.Fprintf(w, `{"layers":[{"mediaType":%q,"digest":"sha256:%s","size":10}]}`, databaseType, hex.EncodeToString(sum[:]))
		case strings.Contains(r.URL.Path, "/blobs/"):
			close(held)
			<-release
		}
	}))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	go func() {
		<-held
		cancel(stopped)
	}()
	_, err := (&Client{}).PullArtifact(ctx, strings.TrimPrefix(srv.URL, "http://")+"/mirror/db:2", databaseType, into(new(bytes.Buffer)))
	if !errors.Is(err, stopped) {
		t.Error(err)
	}
}
