package upstream

import (
	"bytes"
	"compress/gzip"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/imagefactory/imagefactory/factory"
)

// xzText packs a text in blocks of a size; 0 = one.
func xzText(t testing.TB, text string, block int64) []byte {
	t.Helper()
	var b bytes.Buffer
	x, err := xz.WriterConfig{DictCap: 1 << 16, BlockSize: block}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzText(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	if _, err := g.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUpdateinfoLimits(t *testing.T) {
	t.Parallel()
	l := limits{packed: 1000, plain: 4000, window: 1 << 20, token: 500, text: 100, depth: 6, references: 2, packages: 2}
	in := func(s string) []byte {
		return []byte(`<updates><update type="security">` + s + `</update></updates>`)
	}
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z, zstd.WithWindowSize(2<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(strings.Repeat("<updates/>", 100)))
	_ = w.Flush()
	_, _ = w.Write([]byte(strings.Repeat("<updates/>", 100)))
	_ = w.Close()
	wide := xzText(t, "<updates/>", 0)
	wide[14+bytes.IndexByte(wide[14:], 0x21)+2] = 40 // the dictionary of the block: 4 GiB
	pkg, ref := `<pkglist><collection><package name="a"/><package name="a"/>`, `<references><reference/><reference/>`
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"good":          {in("<id>A-1</id>" + pkg + "</collection></pkglist>" + ref + "</references>"), ""},
		"file":          {bytes.Repeat([]byte(" "), 1001), "its file is larger than 1000 bytes"},
		"unpacked":      {gzText(t, "<updates>"+strings.Repeat("<x>0</x>", 900)), "it is larger than 3 KiB"},
		"token":         {in(strings.Repeat("x", 501)), "a tag or text in it is longer than 500 bytes"},
		"attribute":     {[]byte(`<updates a="` + strings.Repeat("x", 501)), "a tag or text in it is longer than 500 bytes"},
		"skipped token": {[]byte("<updates><update type='bugfix'><!--" + strings.Repeat("x", 501)), "longer than 500 bytes"},
		"text":          {in("<id>" + strings.Repeat("x", 101)), "the id of an advisory is longer than 100 bytes"},
		"text in parts": {in("<title>" + strings.Repeat("x<!---->", 101)), "the title of an advisory is longer than 100 bytes"},
		"depth":         {[]byte("<updates><a><a><a><a><a><a>"), "its elements are nested more than 6 deep"},
		"packages":      {in(pkg + `<package/>`), "more than 2 packages"},
		"references":    {in(ref + `<reference/>`), "more than 2 references"},
		"zstd window":   {z.Bytes(), "its compression needs more than 1 MiB of memory"},
		"xz dictionary": {wide, "its compression needs more than 1 MiB of memory"},
		"xz cut":        {wide[:20], "unexpected EOF"},
		"xz header":     {wide[:10], "not an xz file of the plain kind"},
		"xz empty":      {wide[:12], "unexpected EOF"},
		"xz filter":     {append(slices.Clone(wide[:12]), 2, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0), "not an xz file of the plain kind"},
		"xz sizes":      {append(slices.Clone(wide[:12]), 2, 0xc0, 0x80, 0x01, 0x02, 0x21, 1, 41, 0, 0, 0, 0), "invalid dictionary size"},
		"xz last block": {wide[:12+12], "its compression needs more"},
	} {
		err := parseUpdateinfo(c.b, l, func(erratum) {})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	// What names the repository and the limit.
	y := yum{Archive: factory.Archive{ID: "a", Suite: "b"}, platform: factory.Platform{OS: "linux", Architecture: "amd64"}}
	_, err = errata(map[string][]byte{"updateinfo/amd64.0": bytes.Repeat([]byte(" "), 64<<20+1)}, []yum{y}, func(erratum) {})
	if !errors.Is(err, factory.ErrUnavailable) || err.Error() != "archive a b: its updateinfo cannot be read: updateinfo: its file is larger than 64 MiB" {
		t.Error(err)
	}
}

// What cannot be read of an erratum must not make it as if there were none.
func TestUnreadErrata(t *testing.T) {
	t.Parallel()
	pkg := func(name, version string) string {
		return `<pkglist><collection><package name="` + name + `" version="` + version + `" release="1" arch="noarch"/><package name="bb" version="1" release="1" arch="noarch"/></collection></pkglist>`
	}
	for name, c := range map[string]struct {
		update string
		names  []string
		opaque bool
		fixes  int
	}{
		"good":        {`<update type="Security "><id> A-1 </id>` + pkg("aa", "1"), nil, false, 2},
		"id":          {`<update type="SECURITY"><id>A 1</id>` + pkg("aa", "1"), []string{"aa", "bb"}, false, 0},
		"no id":       {`<update type="security">` + pkg("aa", "1"), []string{"aa", "bb"}, false, 0},
		"nothing":     {`<update type="security"><id/>`, nil, true, 0},
		"version":     {`<update type="security"><id>A-1</id>` + pkg("aa", "1 2"), []string{"aa"}, false, 1},
		"name":        {`<update type="security"><id>A-1</id>` + pkg("a a", "1"), nil, true, 1},
		"other kinds": {`<update type="bugfix"><id/>` + pkg("a a", ""), nil, false, 0},
	} {
		y := yum{platform: factory.Platform{OS: "linux", Architecture: "amd64"}}
		fixes := 0
		all, err := errata(map[string][]byte{"updateinfo/amd64.0": []byte("<updates>" + c.update + "</update></updates>")}, []yum{y}, func(e erratum) { fixes += len(e.fixes) })
		if err != nil || !all[0].has || all[0].opaque != c.opaque || len(all[0].names) != len(c.names) || fixes != c.fixes || (all[0].unread == 1) != (c.opaque || c.names != nil) {
			t.Errorf("%s: %+v, %d fixes, %v", name, all, fixes, err)
		}
		for _, n := range c.names {
			if !all[0].names[n] {
				t.Errorf("%s: %+v", name, all[0])
			}
		}
	}
	var r reading
	for i := range unreadNames + 1 {
		r.note(erratum{unread: []string{strings.Repeat("a", i)}})
	}
	if !r.opaque || len(r.names) != unreadNames || r.unread != unreadNames+1 {
		t.Errorf("%d names of %d", len(r.names), r.unread)
	}
}

// A second fix says that the first was not whole, and the time to put it right runs on.
func TestLedgerDates(t *testing.T) {
	t.Parallel()
	first := erratum{id: "A-1", cves: []string{"CVE-2025-0001"}, fixes: []fix{{"aa", "1-1", ""}}, issued: day}
	second := erratum{id: "A-2", cves: first.cves, fixes: []fix{{"aa", "1-2", ""}}, issued: day.AddDate(0, 1, 0)}
	undated := erratum{id: "A-3", cves: first.cves, fixes: []fix{{"aa", "1-3", ""}}}
	for _, order := range [][]erratum{{first, second, undated}, {undated, second, first}, {second, first, undated}, {first, undated, second}} {
		l := newLedger([]LockedImage{locked(nil, "aa")})
		for _, e := range order {
			l.add(e)
		}
		if got := l.advisories(); len(got) != 1 || got[0].ID != "A-3" || got[0].Fixed != "1-3" || !got[0].Date.Equal(day) {
			t.Errorf("%+v", got)
		}
	}
}
