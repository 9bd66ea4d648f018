package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func documents(t *testing.T, s *store.Store) {
	ctx := t.Context()
	big := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(big)
	a, b, bare := Release("debian-12", 1), Release("debian-12", 2), Release("debian-13", 1)
	a.Documents = []factory.Document{ // not in their order
		factory.NewDocument(factory.SPDX, "linux/amd64", amd64, "application/spdx+json", []byte("{}")),
		factory.NewDocument(factory.ARF, "of no platform", factory.Platform{}, "", nil),
		factory.NewDocument(factory.ARF, "é 'quoted'", amd64, "application/xml", big),
	}
	b.Documents = []factory.Document{factory.NewDocument(factory.ARF, "x", amd64, "application/xml", big)} // shared
	bare.Documents = nil
	for _, r := range []factory.Release{a, b, bare} {
		add(t, s, r)
	}
	got, err := s.Documents(ctx, a.ID)
	must(t, err)
	want := []factory.Document{a.Documents[1], a.Documents[2], a.Documents[0]}
	for i, w := range want {
		d, err := s.Document(ctx, a.ID, w.Kind, w.Name)
		must(t, err)
		if !bytes.Equal(d.Data, w.Data) || factory.DigestOf(d.Data) != w.Digest {
			t.Errorf("%s %s: %d bytes, want %d", w.Kind, w.Name, len(d.Data), len(w.Data))
		}
		want[i].Data = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("documents:\n%+v\nwant\n%+v", got, want)
	}
	if got, err := s.Documents(ctx, bare.ID); err != nil || got != nil {
		t.Errorf("documents of none: %v, %v", got, err)
	}
	_, err = s.Documents(ctx, "r-none")
	refused(t, err, factory.ErrNotFound, "r-none")
	_, err = s.Document(ctx, "r-none", factory.ARF, "x")
	refused(t, err, factory.ErrNotFound, "r-none")
	_, err = s.Document(ctx, a.ID, factory.ARF, "x")
	refused(t, err, factory.ErrNotFound, "arf x", "it has: arf of no platform, arf é 'quoted', spdx linux/amd64")
	_, err = s.Document(ctx, bare.ID, factory.ARF, "x")
	refused(t, err, factory.ErrNotFound, "it has: none")
}

// Releases that have documents in common, in another order each, do not wait for each other for ever.
func documentsRace(t *testing.T, s *store.Store) {
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			r := Release(fmt.Sprintf("image-%d", n), 1)
			r.Documents = nil
			for i := range 8 {
				text := fmt.Sprint((i*(2*(n%4)+1) + n) % 8) // the same eight
				r.Documents = append(r.Documents, factory.NewDocument(factory.ARF, text, amd64, "", []byte(text)))
			}
			if err := Add(t.Context(), s, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func holding(t *testing.T, s *store.Store) {
	ctx := t.Context()
	arm64 := factory.Platform{OS: "linux", Architecture: "arm64"}
	pkg := func(name, version, source string) factory.Package {
		return factory.Package{Name: name, Version: version, Arch: "amd64", Source: source}
	}
	a, b := Release("debian-12", 1), Release("debian-13", 2)
	a.Lock.Platforms = []factory.LockedPlatform{
		{Platform: amd64, Packages: []factory.Package{pkg("libssl3", "3.0.15-1", "openssl"), pkg("openssl", "3.0.15-1", ""), {Name: "zlib1g", Version: "2+b1", Arch: "amd64", Source: "zlib", SourceVersion: "2"}}},
		{Platform: arm64, Packages: []factory.Package{pkg("libssl3", "3.0.15-1", "openssl")}},
	}
	b.Lock.Platforms = []factory.LockedPlatform{{Platform: amd64, Packages: []factory.Package{pkg("libssl3", "3.0.16-1", "openssl")}}}
	many := Release("many", 3) // more than one statement's worth
	for n := range 1201 {
		many.Lock.Platforms[0].Packages = append(many.Lock.Platforms[0].Packages, pkg(fmt.Sprintf("p%d", n), "1", "lots"))
	}
	for _, r := range []factory.Release{a, b, many} {
		add(t, s, r)
	}
	for name, want := range map[string][]string{
		"openssl": {b.ID + " linux/amd64 libssl3 3.0.16-1 openssl 3.0.16-1", a.ID + " linux/amd64 libssl3 3.0.15-1 openssl 3.0.15-1",
			a.ID + " linux/arm64 libssl3 3.0.15-1 openssl 3.0.15-1", a.ID + " linux/amd64 openssl 3.0.15-1 openssl 3.0.15-1"},
		"zlib1g": {a.ID + " linux/amd64 zlib1g 2+b1 zlib 2"},
		"libssl": nil, "": nil, "open%": nil, "OPENSSL": nil, "x'\x00": nil,
	} {
		got, err := s.Holding(ctx, name)
		must(t, err)
		var lines []string
		for _, h := range got {
			lines = append(lines, fmt.Sprintf("%s %s %s %s %s %s", h.Release, h.Platform, h.Name, h.Version, h.Source, h.SourceVersion))
			if h.Arch != "amd64" || h.Release == a.ID && (h.Image != a.Image || h.Repository != a.Repository || h.Digest != a.Digest || h.Tag != a.Tag || !h.Created.Equal(a.Created)) {
				t.Errorf("%+v", h)
			}
		}
		if !reflect.DeepEqual(lines, want) {
			t.Errorf("%q is held by\n%q\nwant\n%q", name, lines, want)
		}
	}
	if got, err := s.Holding(ctx, "lots"); err != nil || len(got) != 1201 {
		t.Errorf("%d of 1201 packages, %v", len(got), err)
	}
}
