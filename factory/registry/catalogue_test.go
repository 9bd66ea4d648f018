package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

func TestCatalogue(t *testing.T) {
	t.Parallel()
	s := strange(t)
	for _, name := range []string{"team/app", "team/web", "teams/x", "other", "team/BAD", "team"} {
		s.tags[name] = []string{"1"}
	}
	h := s.host + "/"
	for prefix, want := range map[string][]string{
		"":     {h + "other", h + "team", h + "team/app", h + "team/web", h + "teams/x"},
		"team": {h + "team", h + "team/app", h + "team/web"}, "none": nil,
	} {
		got, err := (&Client{}).Catalogue(t.Context(), s.host, prefix)
		if err != nil || !slices.Equal(got.Repositories, want) || got.Cut != "" || prefix != "none" && got.Odd != 1 {
			t.Errorf("%q: %+v, %v", prefix, got, err)
		}
	}
	if _, err := (&Client{}).Catalogue(t.Context(), "a b", ""); !errors.Is(err, factory.ErrInvalid) {
		t.Error(err)
	}
	real := serve(t).Addr()
	a := image(t, 500)
	for i := range 2 {
		must(t, (&Client{}).Push(t.Context(), fmt.Sprint(real, "/base/app", i), a))
	}
	if got, err := (&Client{}).Catalogue(t.Context(), real, "base"); err != nil || len(got.Repositories) != 2 {
		t.Errorf("the embedded registry: %+v, %v", got, err)
	}
}

func TestCatalogueFaults(t *testing.T) {
	t.Parallel()
	page := func(next, body string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/_catalog") {
				return false
			}
			if next != "" {
				w.Header().Set("Link", "<"+next+`>; rel="next"`)
			}
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	count := 0
	for name, tc := range map[string]struct {
		fault func(w http.ResponseWriter, r *http.Request) bool
		cut   string
		kind  error
		says  string
		have  int
	}{
		"none": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_catalog") && status(w, 404)
		}, kind: factory.ErrNotFound, says: "--repositories FILE"},
		"not for us": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_catalog") && status(w, 401)
		}, kind: factory.ErrNotFound, says: "docker login"},
		"not allowed": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/_catalog") && status(w, 405)
		}, kind: factory.ErrNotFound, says: "--repositories -"},
		"down":        {fault: func(w http.ResponseWriter, r *http.Request) bool { return status(w, 503) }, kind: factory.ErrUnavailable, says: "tried 8 times"},
		"a page":      {fault: page("", "<html>"), kind: factory.ErrInvalid, says: "is no list of names"},
		"a huge page": {fault: page("", `["`+strings.Repeat("x", maxPage)+`"]`), kind: factory.ErrInvalid, says: "larger than"},
		"round":       {fault: page("/v2/_catalog", `{"repositories":["a"]}`), cut: "goes round", have: 1},
		"nothing new": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			count++
			return page(fmt.Sprintf("/v2/_catalog?last=%d", count), `{"repositories":["a"]}`)(w, r)
		}, cut: "without anything new", have: 1},
		"elsewhere": {fault: page("http://elsewhere.invalid/v2/_catalog", `{"repositories":["a","a"]}`), cut: "goes on at another address", have: 1},
	} {
		s := strange(t)
		s.fault = tc.fault
		var slept waits
		got, err := patient(&slept).Catalogue(t.Context(), s.host, "")
		if tc.kind != nil && (!errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says)) || tc.kind == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(got.Repositories) != tc.have || !strings.Contains(got.Cut, tc.cut) || tc.cut == "" && got.Cut != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A list without end is cut, with what it named until then.
func TestCatalogueWithoutEnd(t *testing.T) {
	t.Parallel()
	s := strange(t)
	n := 0
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/_catalog") {
			return false
		}
		n++
		w.Header().Set("Link", fmt.Sprintf(`<_catalog?last=%d>; rel="next"`, n))
		var names []string
		for i := range 50_000 {
			names = append(names, fmt.Sprintf("r%d-%d", n, i))
		}
		return json.NewEncoder(w).Encode(object{"repositories": names}) == nil
	}
	got, err := (&Client{}).Catalogue(t.Context(), s.host, "")
	if err != nil || len(got.Repositories) != maxNames || !strings.Contains(got.Cut, "does not end within 200000 names") {
		t.Errorf("%d, %q, %v", len(got.Repositories), got.Cut, err)
	}
	s.tags["app"] = []string{}
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		w.Header().Set("Link", `</v2/app/tags/list?n=1000>; rel="next"`)
		_, _ = w.Write([]byte(`{"tags":["1"]}`))
		return true
	}
	all, _ := shown(t, Walk{Client: &Client{}}, s.host+"/app")
	if l := all[s.host+"/app"]; !l.Blind || l.Skipped[skipMissing] != 1 || !strings.Contains(fmt.Sprint(l.Problems), "goes round") {
		t.Errorf("%+v", l)
	}
}

func TestNewestFirst(t *testing.T) {
	t.Parallel()
	tags := []string{"1.9", "latest", "1.10", "1.2.0", "1.02.0", "20261123-1a2b3c4d-prod", "20261009-ffffffff-prod", "v2", "v10", "main", "1.10-rc1", "1"}
	newestFirst(tags)
	want := []string{"latest", "v10", "v2", "main", "20261123-1a2b3c4d-prod", "20261009-ffffffff-prod", "1.10-rc1", "1.10", "1.9", "1.02.0", "1.2.0", "1"}
	if !slices.Equal(tags, want) {
		t.Errorf("%v", tags)
	}
}

// FuzzNatural: the order is one, whatever the tags.
func FuzzNatural(f *testing.F) {
	f.Add("1.9", "1.10", "v2")
	f.Add("", "0", "00")
	f.Add("latest", "a1b", "a01b")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if natural(a, b) != -natural(b, a) || (natural(a, b) == 0) != (a == b) {
			t.Errorf("%q %q: %d %d", a, b, natural(a, b), natural(b, a))
		}
		all := []string{a, b, c}
		slices.SortFunc(all, natural)
		if natural(all[0], all[1]) > 0 || natural(all[1], all[2]) > 0 || natural(all[0], all[2]) > 0 {
			t.Errorf("%q", all)
		}
	})
}
