package buildkit

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// An archive's error page is not a package that somebody changed.
func TestErrorPage(t *testing.T) {
	t.Parallel()
	archive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/pool/there.deb" {
			http.NotFound(w, r)
		}
	}))
	defer archive.Close()
	c := &Client{Archives: map[string]string{"debian": archive.URL + "/", "down": "http://127.0.0.1:1", "odd": "http://\x00"}}
	pkgs := []factory.Package{{Name: "there", Version: "1", Archive: "debian", Path: "pool/there.deb"}, {Name: "gone", Version: "2", Archive: "debian", Path: "pool/gone.deb"},
		{Name: "off", Version: "3", Archive: "down", Path: "pool/off.deb"}, {Name: "odd", Version: "4", Archive: "odd", Path: "odd.deb"}, {Name: "nowhere", Version: "5", Archive: "none", Path: "x"}}
	for i, want := range []error{factory.ErrUnverified, factory.ErrUnavailable, factory.ErrUnverified, factory.ErrUnverified, factory.ErrUnverified} {
		w := watching(new([]factory.Event))
		w.failed = fetchPrefix + label(pkgs[i])
		err := c.errorPage(t.Context(), pkgs, c.translate(errors.New("digest mismatch"), w))
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), label(pkgs[i])+": ") {
			t.Errorf("%s: %v", pkgs[i].Name, err)
		}
		if want == factory.ErrUnavailable && !strings.Contains(err.Error(), "404, not there (any more)") {
			t.Errorf("%v", err)
		}
	}
	other := errors.New("odd")
	if err := c.errorPage(t.Context(), pkgs, other); err != other {
		t.Errorf("%v", err)
	}
}
