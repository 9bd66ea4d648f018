package upstream

import (
	"bytes"
	"compress/gzip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/imagefactory/imagefactory/factory"
)

const sampleUpdateinfo = `<?xml version="1.0" encoding="UTF-8"?>
<updates>
 <update from="x" status="final" type="security" version="1">
  <id>RHSA-2025:1</id><title>Important: aa security update</title>
  <issued date="2025-11-11 06:00:00"/><severity>Important</severity>
  <references>
   <reference type="cve" id="CVE-2025-0002" href="x"/><reference type="cve" id="CVE-2025-0001"/>
   <reference type="cve" id="not one"/><reference type="bugzilla" id="CVE-2025-0009"/>
  </references>
  <pkglist><collection short="s"><name>s</name>
   <package name="aa" epoch="1" version="2" release="3.el9" arch="x86_64"><filename>aa.rpm</filename></package>
   <package name="aa" epoch="1" version="2" release="3.el9" arch="src"/>
   <package name="../x" epoch="0" version="2" release="3" arch="noarch"/>
   <package name="bb" epoch="0" version="1" release="1" arch="noarch"/>
  </collection></pkglist>
 </update>
 <update type="bugfix"><id>RHBA-2025:2</id><pkglist><collection><package name="aa" version="9" release="9" arch="noarch"/></collection></pkglist></update>
 <update type="security"><id>RHSA-2025:3</id><title/><issued date="2025-11-12T07:08:09Z"/><severity>terrible</severity>
  <pkglist><collection><module name="nodejs" stream="20" version="9" context="c" arch="x86_64"/>
   <package name="nodejs" epoch="1" version="20" release="1" arch="x86_64"/></collection></pkglist></update>
 <update type="security"><id>../../etc</id></update>
</updates>
`

func readErrata(b []byte) (all []erratum, err error) {
	err = parseUpdateinfo(b, updateinfoLimits, func(e erratum) { all = append(all, e) })
	return all, err
}

func TestParseUpdateinfo(t *testing.T) {
	t.Parallel()
	all, err := readErrata([]byte(sampleUpdateinfo))
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v %v", all, err)
	}
	if e := all[2]; e.id != "" || !e.opaque || len(e.fixes) != 0 || !all[0].opaque || all[1].opaque {
		t.Errorf("%+v", all)
	}
	e := all[0]
	if e.id != "RHSA-2025:1" || e.title != "Important: aa security update" || e.severity != factory.High || !e.issued.Equal(time.Date(2025, 11, 11, 6, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", e)
	}
	if !slices.Equal(e.cves, []string{"CVE-2025-0001", "CVE-2025-0002"}) || !slices.Equal(e.fixes, []fix{{"aa", "1:2-3.el9", ""}, {"bb", "1-1", ""}}) {
		t.Errorf("%+v", e)
	}
	if e := all[1]; e.severity != "" || len(e.cves) != 0 || !slices.Equal(e.fixes, []fix{{"nodejs", "1:20-1", "nodejs:20"}}) || e.issued.Hour() != 7 {
		t.Errorf("%+v", e)
	}
	for _, bad := range []string{"", "<repomd/>", "<updates>", "<updates><update type='security'><id>", "text", "\x1f\x8bgarbage", "\x1f\x8b\x08", sampleUpdateinfo[:700]} {
		if _, err := readErrata([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "updateinfo: ") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestParseUpdateinfoCompressed(t *testing.T) {
	t.Parallel()
	packed := map[string][]byte{}
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	_, _ = g.Write([]byte(sampleUpdateinfo))
	_ = g.Close()
	packed["gzip"] = bytes.Clone(b.Bytes())
	b.Reset()
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write([]byte(sampleUpdateinfo))
	_ = z.Close()
	packed["zstd"] = bytes.Clone(b.Bytes())
	b.Reset()
	x, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = x.Write([]byte(sampleUpdateinfo))
	_ = x.Close()
	packed["xz"] = bytes.Clone(b.Bytes())
	packed["xz of several blocks"] = xzText(t, sampleUpdateinfo, 300)
	bzip2 := exec.Command("bzip2")
	bzip2.Stdin = strings.NewReader(sampleUpdateinfo)
	if packed["bzip2"], err = bzip2.Output(); err != nil {
		delete(packed, "bzip2") // this machine has none
	}
	for name, b := range packed {
		if all, err := readErrata(b); err != nil || len(all) != 3 {
			t.Errorf("%s: %d %v", name, len(all), err)
		}
		if _, err := readErrata(b[:len(b)/2]); err == nil {
			t.Errorf("%s: half of it is as good", name)
		}
	}
}

func TestIssued(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2025-11-11 06:00:00": "2025-11-11T06:00:00Z", "2025-11-11": "2025-11-11T00:00:00Z", "2014-09-17 21:42": "2014-09-17T21:42:00Z", "2025-11-11 06:00:00 UTC": "2025-11-11T06:00:00Z",
		"2025-11-11T06:00:00Z": "2025-11-11T06:00:00Z", "1762840800": "2025-11-11T06:00:00Z", "yesterday": "0001-01-01T00:00:00Z", "": "0001-01-01T00:00:00Z", "0001-01-01": "0001-01-01T00:00:00Z",
	} {
		if got := instant(issued(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzParseUpdateinfo(f *testing.F) {
	f.Add([]byte(sampleUpdateinfo))
	f.Add([]byte("<updates><update type='security'><id>A-1</id></update></updates>"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("BZh9"))
	f.Add(xzText(f, "<updates/>", 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _ := readErrata(b)
		for _, e := range all {
			if e.id == "" && len(e.fixes) > 0 || e.id != "" && !advisoryTag.MatchString(e.id) || strings.ContainsAny(e.title, "\n\x1b") {
				t.Errorf("%+v", e)
			}
			for _, f := range e.fixes {
				if !rpmName.MatchString(f.name) || !evrText.MatchString(f.evr) {
					t.Errorf("%+v", f)
				}
			}
			for _, id := range e.cves {
				if !onlyCVE.MatchString(id) {
					t.Error(id)
				}
			}
		}
	})
}
