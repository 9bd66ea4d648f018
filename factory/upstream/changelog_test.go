package upstream

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode"

	"github.com/imagefactory/imagefactory/factory"
)

func TestEntries(t *testing.T) {
	t.Parallel()
	text := `rubbish before
aa (1:1.0-2+deb12u2) bookworm-security bookworm; urgency=high

  * Non-maintainer upload by the Security Team.
  * Out of bounds
    write (CVE-2026-0001). CVE-2026-0002 does not
    affect this version.
  [ Some One ]
  * New upstream fixes
    - CVE-2026-0003: overflow
    + CVE-2026-0004
  * GHSA-5qpq-xqfv-j9pg, and GHSA-r9hj-j2rw-4q3m with CVE-2026-0005
  * GHSA-5qpq-xqfv-j9pg

 -- A B <a@example.invalid>  Tue,  3 Nov 2026 08:09:10 +0200

aa (1:1.0-2+b1) sid; urgency=low, binary-only=yes

  * Rebuild

 -- A B <a@example.invalid>  3 Nov 2025 08:09:10 +0000

aa (1.0-2) unstable; urgency=low, Binary-Only=yes
 -- A B  yesterday

Old entries of another form
bb (1.0-1) ALPHA
aa (0.9)
`
	got := slices.Collect(entries(strings.NewReader(text)))
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	e := got[0]
	if e.source != "aa" || e.version != "1:1.0-2+deb12u2" || !slices.Equal(e.suites, []string{"bookworm-security", "bookworm"}) || e.rebuild || !e.names ||
		!e.date.Equal(time.Date(2026, 11, 3, 6, 9, 10, 0, time.UTC)) || !strings.HasPrefix(e.title, "Out of bounds write") {
		t.Errorf("%+v", e)
	}
	want := []mention{{"CVE-2026-0001", e.title}, {"CVE-2026-0003", "overflow"}, {"CVE-2026-0004", ""},
		{"CVE-2026-0005", "and GHSA-r9hj-j2rw-4q3m with CVE-2026-0005"}, {"GHSA-5qpq-xqfv-j9pg", ""}}
	if !slices.Equal(e.fixes, want) {
		t.Errorf("got  %q\nwant %q", e.fixes, want)
	}
	if !got[1].rebuild || got[1].date.Year() != 2025 || !got[2].rebuild || !got[2].date.IsZero() {
		t.Errorf("%+v", got[1:])
	}
	for e := range entries(strings.NewReader(text)) {
		if e.version != "1:1.0-2+deb12u2" {
			t.Error("it does not stop")
		}
		break
	}
}

func TestEntriesBounds(t *testing.T) {
	t.Parallel()
	head := "aa (1) s; urgency=low\n"
	long := strings.Repeat("x", 3*lineLimit)
	for name, c := range map[string]struct {
		text io.Reader
		want []string
	}{
		"long line":  {strings.NewReader(head + "  * CVE-2026-0001 " + long + " CVE-2026-0002\n  * CVE-2026-0003"), []string{"CVE-2026-0001", "CVE-2026-0003"}},
		"long item":  {strings.NewReader(head + "  * CVE-2026-0001\n" + strings.Repeat(strings.Repeat("y", 1000)+"\n", 100) + strings.Repeat("y", 1000) + " CVE-2026-0002\n\nCVE-2026-0003"), []string{"CVE-2026-0001", "CVE-2026-0003"}},
		"cut off":    {io.MultiReader(strings.NewReader(head+"  * CVE-2026-0001\n  * CVE-2026-00"), iotest.ErrReader(errors.New("cut"))), []string{"CVE-2026-0001"}},
		"returns":    {strings.NewReader("aa (1) s; urgency=low\r\n  * CVE-2026-0001\r\n"), []string{"CVE-2026-0001"}},
		"no text":    {strings.NewReader(head), nil},
		"not UTF-8":  {strings.NewReader(head + "  * \xff\xfe CVE-2026-0001 \x1b[31mred\n"), []string{"CVE-2026-0001"}},
		"no changes": {strings.NewReader(""), nil},
	} {
		var got []string
		for e := range entries(c.text) {
			for _, m := range e.fixes {
				got = append(got, m.id)
				if len(m.title) > titleLimit || strings.ContainsFunc(m.title, unicode.IsControl) {
					t.Errorf("%s: title %q", name, m.title)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestMentions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CVE-2026-1234": "CVE-2026-1234",
		"CVE-2026-1234, -1235 and -12366. CVE-1999-0001":     "CVE-2026-1234 CVE-2026-1235 CVE-2026-12366 CVE-1999-0001",
		"CVE-2026-1234 -1235":                                "CVE-2026-1234 CVE-2026-1235",
		"CVE-2026-1234/-1235":                                "CVE-2026-1234 CVE-2026-1235",
		"CVE-2026-1234, 1235 bytes":                          "CVE-2026-1234",
		"CVE-2026-1234 -12":                                  "CVE-2026-1234",
		"CVE-2026-1234, -1235x":                              "CVE-2026-1234",
		"CVE-2026-{1234,1235, 98765}: many":                  "CVE-2026-1234 CVE-2026-1235 CVE-2026-98765",
		"CVE-2026-{1234,x}":                                  "",
		"CVE-2026-{1234}":                                    "",
		"d/p/CVE-2026-1234_1.patch, CVE-2026-1235.diff":      "CVE-2026-1234 CVE-2026-1235",
		"CVE-2026-123 CVE-3026-1234 CVE-1899-1234":           "",
		"CVE-2026-12345678901234567890":                      "",
		"xCVE-2026-1234 CVE-2026-1234a éCVE-2026-1":          "",
		"cve-2026-1234":                                      "",
		"CVE-2026-1\n234":                                    "",
		"CVE-2026-1234 is not affected":                      "",
		"not vulnerable to CVE-2026-1234; fix CVE-2026-1235": "CVE-2026-1235",
		"CVE-2026-1234 doesn't affect us":                    "",
		"this is not fixed: CVE-2026-1234":                   "",
		"stable is unaffected by CVE-2026-1234":              "",
		"do not follow links (CVE-2026-1234)":                "CVE-2026-1234",
		"GHSA-5qpq-xqfv-j9pg":                                "GHSA-5qpq-xqfv-j9pg",
		"see https://x.invalid/GHSA-5qpq-xqfv-j9pg/":         "GHSA-5qpq-xqfv-j9pg",
		"GHSA-5qpq-xqfv-j9pgg GHSA-1111-xqfv-j9pg":           "",
		"GHSA-5qpq-xqfv-j9pg is not applicable":              "",
	} {
		var e entry
		e.read("* " + text)
		var got []string
		for _, m := range e.fixes {
			got = append(got, m.id)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestTitle(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"* CVE-2026-1234: overflow\n  in\tthe\x00parser.":         "overflow in theparser",
		"- Fix it (CVE-2026-1234)":                                "Fix it (CVE-2026-1234)",
		"+ CVE-2026-1234, CVE-2026-1235":                          "",
		"* CVE-2026-1234 (#12)":                                   "",
		"* CVE-2026-1234 (\"Use after free\") (Closes: #12, #13)": "Use after free",
		"* CVE-2026-1234 (one) and (two)":                         "(one) and (two)",
		"* Fix it. Closes: #12":                                   "Fix it",
		"* " + strings.Repeat("é", 200):                           strings.Repeat("é", 78) + "…",
		"* " + strings.Repeat("word ", 200):                       strings.Repeat("word ", 30) + "word…",
	} {
		if got := titleOf(text); got != want {
			t.Errorf("%.40q: %q", text, got)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	up := func(version, suite, date, text string) string {
		return "aa (" + version + ") " + suite + "; urgency=high\n\n  * " + text + "\n\n -- A <a@example.invalid>  " + date + " 08:00:00 +0000\n\n"
	}
	began := up("1.0-1+deb12u1", "bookworm", "01 Jul 2023", "the release has updates")
	for name, c := range map[string]struct{ log, want string }{
		"first mention counts": {
			up("1.0-1+deb12u3", "bookworm", "03 Jul 2024", "CVE-2024-0001 again, CVE-2024-0002") + up("1.0-1+deb12u2", "bookworm-security", "02 Jul 2024", "CVE-2024-0001") + began,
			"CVE-2024-0001 1.0-1+deb12u2 2024-07-02, CVE-2024-0002 1.0-1+deb12u3 2024-07-03"},
		"what the release always had": {
			up("1.0-1+deb12u2", "bookworm", "02 Jul 2024", "CVE-2023-0001 once more") + began + up("1.0-1", "unstable", "01 May 2023", "CVE-2023-0001"), ""},
		"what came from unstable": {
			up("1.1-1~deb12u1", "bookworm", "02 Jul 2024", "backport") + up("1.1-1", "unstable", "01 Jul 2024", "CVE-2024-0001") + began,
			"CVE-2024-0001 1.1-1~deb12u1 2024-07-02"},
		"what did not come yet": {up("1.1-1", "unstable", "01 Jul 2024", "CVE-2024-0001") + began, ""},
		"another release, backports": {
			up("1.0-1+deb12u2", "bookworm", "03 Jul 2024", "merge") + up("0.9-1+deb11u1", "bullseye-security", "02 Jul 2024", "CVE-2024-0001") +
				up("1.1-1~bpo12+1", "bookworm-backports", "02 Jul 2024", "CVE-2024-0002") + began,
			"CVE-2024-0001 1.0-1+deb12u2 2024-07-03, CVE-2024-0002 1.0-1+deb12u2 2024-07-03"},
		"rebuild": {
			up("1.0-1+deb12u2", "bookworm", "03 Jul 2024", "x") + up("1.0-1+deb12u1+b1", "bookworm", "02 Jul 2024", "CVE-2024-0001") + began, ""},
		"codename, without the usual version": {
			up("1.0-2", "bookworm-security", "02 Jul 2024", "CVE-2024-0001") + began, "CVE-2024-0001 1.0-2 2024-07-02"},
		"version, without the codename": {
			up("1.0-1+deb12u2", "stable-security", "02 Jul 2024", "CVE-2024-0001") + began, "CVE-2024-0001 1.0-1+deb12u2 2024-07-02"},
		"embargoed": {
			up("1:1.0-1+deb12u2", "bookworm-security", "02 Jul 2024", "apply fixes") + began, "DEBSEC-aa-1:1.0-1+deb12u2 1:1.0-1+deb12u2 2024-07-02"},
		"embargoed, after a named one": {
			up("1.0-1+deb12u3", "bookworm-security", "03 Jul 2024", "x") + up("1.0-1+deb12u2", "bookworm-security", "02 Jul 2024", "CVE-2024-0001") + began,
			"CVE-2024-0001 1.0-1+deb12u2 2024-07-02, DEBSEC-aa-1.0-1+deb12u3 1.0-1+deb12u3 2024-07-03"},
		"named by what came along": {
			up("1.1-1~deb12u1", "bookworm-security", "02 Jul 2024", "rebuild") + up("1.1-1", "unstable", "01 Jul 2024", "CVE-2024-0001") + began,
			"CVE-2024-0001 1.1-1~deb12u1 2024-07-02"},
		"only to say that it is not affected": {
			up("1.0-1+deb12u2", "bookworm-security", "02 Jul 2024", "CVE-2024-0001 does not affect us") + began, ""},
		"newer than the archive's": {
			up("3.0-1+deb12u1", "bookworm", "04 Jul 2024", "CVE-2024-0003") + began, ""},
		"another source's":  {strings.ReplaceAll(up("1.0-1+deb12u2", "bookworm", "04 Jul 2024", "CVE-2024-0003"), "aa (", "bb (") + began, ""},
		"no updates at all": {up("1.0-1", "unstable", "01 May 2023", "CVE-2023-0001"), ""},
		"no date":           {up("1.0-1+deb12u1", "bookworm", "once", "CVE-2024-0001"), "CVE-2024-0001 1.0-1+deb12u1 0001-01-01"},
	} {
		log := changelogOf{source: "aa", version: "1:2", entries: slices.Collect(entries(strings.NewReader(c.log)))}
		if strings.Contains(name, "newer") {
			log.version = "2"
		}
		logs := []changelogOf{log}
		var got []string
		for _, a := range historyOf(bookworm, logs).advisories(logs) {
			got = append(got, a.Vulnerability+" "+a.Fixed+" "+a.Date.Format(time.DateOnly))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, ", "), c.want)
		}
	}
}

// Uploads of data come through the security suite without a flaw in anything.
func TestHistoryOfData(t *testing.T) {
	t.Parallel()
	text := "tzdata (2026f-0+deb12u1) bookworm-security; urgency=medium\n\n  * New upstream version\n\n -- A <a@example.invalid>  Thu, 29 Oct 2026 11:32:16 +0100\n"
	logs := []changelogOf{{source: "tzdata", version: "2026f-0+deb12u1", entries: slices.Collect(entries(strings.NewReader(text)))}}
	if got := historyOf(bookworm, logs).advisories(logs); len(got) != 0 || got == nil {
		t.Errorf("%+v", got)
	}
}

var bookworm = factory.Distro{Family: "debian", Release: "12", Codename: "bookworm"}

func FuzzEntries(f *testing.F) {
	f.Add("aa (1.0-1+deb12u1) bookworm-security; urgency=high\n\n  * CVE-2026-1234, -1235, CVE-2026-{1236,1237}\n    GHSA-5qpq-xqfv-j9pg\n -- A <a@x>  Tue, 20 Oct 2026 21:45:34 +0200\n")
	f.Add("aa (1) s;\n* CVE-2026-1234 \xff not affected. -- \n[ x ]\n")
	f.Fuzz(func(t *testing.T, text string) {
		log := changelogOf{source: "aa", version: "9"}
		for e := range entries(strings.NewReader(text)) {
			log.entries = append(log.entries, e)
			if e.version == "" || len(e.suites) == 0 || len(e.title) > titleLimit {
				t.Errorf("%+v", e)
			}
		}
		logs := []changelogOf{log}
		for _, a := range historyOf(bookworm, logs).advisories(logs) {
			id := cveID.FindString(a.Vulnerability) + ghsaID.FindString(a.Vulnerability)
			if id != a.Vulnerability && a.Vulnerability != "DEBSEC-aa-"+a.Fixed || a.Fixed == "" || len(a.Title) > titleLimit || strings.ContainsFunc(a.Title, unicode.IsControl) {
				t.Errorf("%+v", a)
			}
		}
	})
}
