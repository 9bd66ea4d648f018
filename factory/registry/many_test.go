package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// many publishes one image under many names, and returns it with its references.
func many(t *testing.T, host string, n int) (a factory.Artifact, refs []string) {
	t.Helper()
	a = image(t, 100)
	tag := tagOf(t, "20261123-1a2b3c4d-dev")
	for i := range n {
		repository := fmt.Sprintf("%s/base/image-%03d", host, i)
		must(t, (&Client{}).Push(t.Context(), repository, a))
		must(t, (&Client{}).Tag(t.Context(), repository, a.Digest, tag))
		refs = append(refs, repository+":"+tag.String())
	}
	return a, refs
}

func TestResolveAll(t *testing.T) {
	t.Parallel()
	f := front(t)
	a, refs := many(t, f.host, 12)
	refs = slices.Insert(refs, 3, f.host+"/base/image-000:20261124-1a2b3c4d-dev", "no reference")
	f.mu.Lock()
	f.seen = nil
	f.mu.Unlock()
	for i, got := range (&Client{Retry: Retry{Attempts: 1}}).ResolveAll(t.Context(), refs) {
		switch {
		case got.Unasked:
			t.Errorf("%s: not asked", refs[i])
		case i == 3 && !errors.Is(got.Err, factory.ErrNotFound), i == 4 && !errors.Is(got.Err, factory.ErrInvalid):
			t.Errorf("%s: %v", refs[i], got.Err)
		case i != 3 && i != 4 && (got.Err != nil || got.Digest != a.Digest):
			t.Errorf("%s: %s, %v", refs[i], got.Digest, got.Err)
		}
	}
	greetings := 0
	for _, s := range f.seen {
		if s == "GET /v2/" {
			greetings++
		}
	}
	if most := 4; greetings > most { // those who began before the first answer
		t.Errorf("the registry was greeted %d times, expected at most %d", greetings, most)
	}
	if all := (&Client{}).ResolveAll(t.Context(), nil); len(all) != 0 {
		t.Errorf("%v", all)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStalled)
	for _, got := range (&Client{}).ResolveAll(ctx, refs) {
		if !got.Unasked || !errors.Is(got.Err, errStalled) {
			t.Errorf("after the end: %+v", got)
		}
	}
}

// A registry that is down is not asked a thousand times, and one that is down for a moment is asked about the rest.
func TestResolveAllOfADeafRegistry(t *testing.T) {
	t.Parallel()
	f := front(t)
	_, refs := many(t, f.host, 2)
	for len(refs) < 1000 {
		refs = append(refs, refs[len(refs)%2])
	}
	client := &Client{Retry: Retry{Attempts: 1}, Jobs: 8}
	manifest := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
	down := func(w http.ResponseWriter, _ *http.Request) bool { return status(w, http.StatusServiceUnavailable) }
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"from the greeting on": down, "from the first manifest on": first(1<<30, manifest, down),
	} {
		f.set(fault)
		f.mu.Lock()
		f.seen = nil
		f.mu.Unlock()
		asked := 0
		for i, got := range client.ResolveAll(t.Context(), refs) {
			if !errors.Is(got.Err, factory.ErrUnavailable) {
				t.Fatalf("%s: %d: %v", name, i, got.Err)
			}
			if !got.Unasked {
				asked++
			}
		}
		if most := deaf + client.Jobs - 1; asked < deaf || asked > most || len(f.seen) > 2*most {
			t.Errorf("%s: asked about %d with %d requests, expected at most %d", name, asked, len(f.seen), most)
		}
	}
	f.set(first(deaf-1, manifest, down))
	client.Jobs = 1
	missing := 0
	for _, got := range client.ResolveAll(t.Context(), refs) {
		if got.Err != nil {
			missing++
		}
	}
	if missing != deaf-1 {
		t.Errorf("%d of a registry that was away for %d requests", missing, deaf-1)
	}
}
