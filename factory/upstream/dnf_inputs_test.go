package upstream

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

// standInImage is a definition of a Red Hat image, without an archive.
func standInImage(t *testing.T) factory.Image {
	t.Helper()
	key, err := standinKey()
	if err != nil {
		t.Fatal(err)
	}
	return factory.Image{
		Name: "rhel", Distro: factory.Distro{Family: factory.RedHat, Release: "9"}, Where: factory.Position{File: "baseimages/rhel/image.yaml", Line: 1},
		Archives:  []factory.Archive{{ID: "redhat-ubi", Suite: "baseos", Path: "ubi9/$releasever/$basearch/os"}, {ID: "redhat-ubi", Suite: "appstream", Path: "ubi9/apps"}},
		Keys:      []factory.Key{{File: "test.asc", Fingerprint: key.Fingerprint(), Armored: key.Armored()}},
		Packages:  factory.Packages{Include: []string{"aa"}},
		Platforms: []factory.Platform{{OS: "linux", Architecture: "amd64"}},
	}
}

func TestYums(t *testing.T) {
	t.Parallel()
	urls := map[string]string{"redhat-ubi": "http://archive.invalid/mirror/"}
	all, err := yums(standInImage(t), urls)
	if err != nil || len(all) != 2 || all[0].release() != "http://archive.invalid/mirror/ubi9/9/x86_64/os/repodata/repomd.xml" || all[0].id() != "redhat-ubi-baseos" {
		t.Errorf("%+v %v", all, err)
	}
	for name, c := range map[string]struct {
		change func(i *factory.Image)
		want   string
	}{
		"releasever":    {func(i *factory.Image) { i.Distro.Releasever = "../x" }, "cannot stand for $releasever"},
		"package":       {func(i *factory.Image) { i.Packages.Include = []string{"@group"} }, "is not the name of a package"},
		"exclude":       {func(i *factory.Image) { i.Packages.Exclude = []string{"a*"} }, "is not the name of a package"},
		"module":        {func(i *factory.Image) { i.Packages.Modules = []string{"nodejs"} }, "as in nodejs:20"},
		"twice":         {func(i *factory.Image) { i.Archives[1].Suite = "baseos" }, "is there twice"},
		"suite":         {func(i *factory.Image) { i.Archives[0].Suite = "a b" }, "is not the name of a repository"},
		"neither":       {func(i *factory.Image) { i.Archives[0].Path = "" }, "either a path or a mirror list"},
		"both":          {func(i *factory.Image) { i.Archives[0].MirrorList = "x" }, "either a path or a mirror list"},
		"path":          {func(i *factory.Image) { i.Archives[0].Path = "a/../../b" }, "is not a folder below the archive"},
		"variable":      {func(i *factory.Image) { i.Archives[0].Path = "a/$product" }, "is not a folder below the archive"},
		"list":          {func(i *factory.Image) { i.Archives[0].Path, i.Archives[0].MirrorList = "", "/etc" }, "is not a file below the archive"},
		"only":          {func(i *factory.Image) { i.Archives[0].Only = []string{"a b"} }, "are not names of packages"},
		"no archives":   {func(i *factory.Image) { i.Archives = nil }, "no archives or no platforms"},
		"other archive": {func(i *factory.Image) { i.Archives[0].ID = "other" }, "nothing says where archive other is"},
	} {
		img := standInImage(t)
		c.change(&img)
		s := Solver{Archives: urls}
		if _, _, err := s.Solve(t.Context(), Request{Image: img}); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPinnedKeys(t *testing.T) {
	t.Parallel()
	img := standInImage(t)
	good := img.Keys[0]
	var private bytes.Buffer
	w, err := armor.Encode(&private, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := newKey(t).SerializePrivate(w, nil); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	for name, c := range map[string]struct{ armored, want string }{
		"other":   {standInKeyText(t, newKey(t)), "and " + good.Fingerprint + " is pinned"},
		"two":     {good.Armored + good.Armored, "must hold one armored key"},
		"none":    {"", "must hold one armored key"},
		"garbage": {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n-----END PGP PUBLIC KEY BLOCK-----\n", "is not a public key"},
		"private": {private.String(), "must hold one public key and nothing else"},
	} {
		img.Keys = []factory.Key{{File: "x.asc", Fingerprint: good.Fingerprint, Armored: c.armored}}
		if _, err := pinnedKeys(img, day); !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "key file x.asc") {
			t.Errorf("%s: %v", name, err)
		}
	}
	img.Keys = nil
	if _, err := pinnedKeys(img, day); !errors.Is(err, factory.ErrInvalid) {
		t.Error(err)
	}
	brief, err := openpgp.NewEntity("Brief", "", "a@example.invalid", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA512, KeyLifetimeSecs: 86400, Time: func() time.Time { return day }})
	if err != nil {
		t.Fatal(err)
	}
	img.Keys = []factory.Key{{File: "brief.asc", Fingerprint: fmt.Sprintf("%X", brief.PrimaryKey.Fingerprint), Armored: standInKeyText(t, brief)}}
	for days, want := range map[int]int{0: 0, 9: 1} {
		if warned, err := pinnedKeys(img, day.AddDate(0, 0, days)); err != nil || len(warned) != want {
			t.Errorf("after %d days: %q %v", days, warned, err)
		}
	}
}

func standInKeyText(t *testing.T, key *openpgp.Entity) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestParseMirrorList(t *testing.T) {
	t.Parallel()
	y := yum{root: "https://archive.invalid/al", vars: strings.NewReplacer("$basearch", "x86_64")}
	for text, want := range map[string]string{
		"https://archive.invalid/al/2/core/guid/x86_64/\n":          "2/core/guid/x86_64",
		"\n# a comment\nhttps://archive.invalid/al/2/$basearch?x=y": "2/x86_64",
		"https://archive.invalid/al/2\nhttps://other.invalid/3":     "2",
		"https://archive.invalid/al":                                "!not below",
		"https://archive.invalid/al2/core":                          "!not below",
		"http://archive.invalid/al/2":                               "!not below",
		"https://archive.invalid/al/../2":                           "!not below",
		"https://archive.invalid/al/$product":                       "!not below",
		"https://u:p@archive.invalid/al/2":                          "!not the URL",
		"ftp.invalid":                                               "!not the URL",
		"":                                                          "!no repository",
	} {
		got, err := parseMirrorList([]byte(text), y)
		if bad, ok := strings.CutPrefix(want, "!"); ok && (err == nil || !strings.Contains(err.Error(), bad)) || !ok && (err != nil || got != want) {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

func FuzzParseMirrorList(f *testing.F) {
	f.Add("https://archive.invalid/al/2/core/guid/x86_64/\n")
	f.Add("#\n\nhttps://archive.invalid/al/%2e%2e/x")
	y := yum{root: "https://archive.invalid/al", vars: strings.NewReplacer("$basearch", "x86_64")}
	f.Fuzz(func(t *testing.T, text string) {
		if folder, err := parseMirrorList([]byte(text), y); err == nil && !below(folder) {
			t.Errorf("%q", folder)
		}
	})
}

func TestParseRepomd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"<repomd><revision>1762754400</revision><data><timestamp>1762754999</timestamp></data></repomd>":                                    1762754400,
		"<repomd><revision>2023.9</revision><data><timestamp>1762754400.5</timestamp></data><data><timestamp>x</timestamp></data></repomd>": 1762754400,
		"<repomd><revision>7</revision></repomd>": 0, "<other/>": 0, "": 0, "<repomd>": 0,
	} {
		got, err := parseRepomd([]byte(text))
		if (want == 0) != (err != nil) || want != 0 && got.Unix() != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
}

func FuzzParseRepomd(f *testing.F) {
	f.Add([]byte("<repomd><revision>1762754400</revision><data><timestamp>1</timestamp></data></repomd>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, err := parseRepomd(b); err == nil && (at.Year() < 2001 || at.Year() > 2286) {
			t.Errorf("%v", at)
		}
	})
}

const sampleAnswer = `{"platforms":[{"name":"amd64","release":"9.6","replaced":{},"packages":[
 {"name":"aa","version":"1:2-3.el9","arch":"x86_64","source":"aa","sourceVersion":"2-3.el9","repository":0,"path":"a/aa.rpm","size":7,"sha256":"` + zeros + `"},
 {"name":"bb","version":"1-1","arch":"noarch","source":"cc","sourceVersion":"1-2","repository":1,"path":"b/bb.rpm","size":7,"sha256":"` + zeros + `"}]}]}`

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	img := standInImage(t)
	repos, err := yums(img, map[string]string{"redhat-ubi": "http://archive.invalid"})
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseAnswer([]byte(sampleAnswer), img.Platforms, repos)
	if err != nil || len(all) != 1 || len(all[0].offers) != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	if a, b := all[0].offers[0], all[0].offers[1]; a.Source != "" || a.SourceVersion != "" || a.Repository != "baseos" || b.Source != "cc" || b.SourceVersion != "1-2" || b.Repository != "appstream" {
		t.Errorf("%+v", all)
	}
	for _, c := range []struct{ old, new string }{
		{`"amd64"`, `"arm64"`}, {`"9.6"`, `"../9"`}, {`"release"`, `"else"`}, {`"name":"aa"`, `"name":"-aa"`}, {`"1:2-3.el9"`, `"1:2"`}, {`"noarch"`, `"i686"`}, {`"cc"`, `"c c"`}, {`"1-2"`, `"1"`},
		{`"repository":1`, `"repository":2`}, {`"repository":1`, `"repository":-1`}, {`"a/aa.rpm"`, `"../aa.rpm"`}, {`"a/aa.rpm"`, `null`}, {`"size":7`, `"size":0`}, {zeros, "00"}, {`"name":"bb"`, `"name":"aa"`},
		{sampleAnswer, `{"platforms":[]}`}, {sampleAnswer, ""},
	} {
		if _, err := parseAnswer([]byte(strings.Replace(sampleAnswer, c.old, c.new, 1)), img.Platforms, repos); err == nil || !strings.HasPrefix(err.Error(), "dnf's answer") {
			t.Errorf("%.40s -> %.40s: %v", c.old, c.new, err)
		}
	}
}

// What dnf says is held against the definition once more.
func TestHoldDNF(t *testing.T) {
	t.Parallel()
	out := map[string][]byte{"repomd/amd64.0": []byte("<repomd><revision>1762754400</revision></repomd>"), "repomd/amd64.1": []byte("<repomd><revision>1762754401</revision></repomd>"), "result.json": []byte(sampleAnswer)}
	for name, c := range map[string]struct {
		change func(i *factory.Image)
		kind   error
		want   string
	}{
		"excluded": {func(i *factory.Image) { i.Packages.Exclude = []string{"bb"} }, factory.ErrInvalid, "rhel excludes bb, and dnf would install it"},
		"limited":  {func(i *factory.Image) { i.Archives[1].Only = []string{"cc"} }, factory.ErrInvalid, "rhel needs bb from redhat-ubi appstream, which may offer cc only"},
		"missing":  {func(i *factory.Image) { i.Packages.Include = []string{"zz"} }, factory.ErrUnavailable, "asks for package zz"},
		"good":     {func(i *factory.Image) { i.Archives[1].Only = []string{"bb"} }, nil, ""},
		"limits":   {func(i *factory.Image) { i.Archives[0].Only, i.Archives[1].Only = []string{"aa"}, []string{"bb"} }, nil, ""},
	} {
		img := standInImage(t)
		c.change(&img)
		s := Solver{Archives: map[string]string{"redhat-ubi": "http://archive.invalid"}, Now: func() time.Time { return standin.Published }, Runner: scripted{res: factory.StepResult{Output: out}}}
		lock, _, err := s.Solve(t.Context(), Request{Image: img, Definition: factory.DigestOf(nil)})
		if c.kind == nil && (err != nil || lock.Timestamp.Unix() != 1762754400+map[string]int64{"good": 0, "limits": 1}[name]) || c.kind != nil && (!errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v %v", name, lock.Timestamp, err)
		}
	}
	out["result.json"] = []byte(`{"platforms":[{"name":"amd64"}]}`)
	s := Solver{Archives: map[string]string{"redhat-ubi": "http://archive.invalid"}, Now: func() time.Time { return standin.Published }, Runner: scripted{res: factory.StepResult{Output: out}}}
	if _, _, err := s.Solve(t.Context(), Request{Image: standInImage(t)}); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "asks for no packages") {
		t.Error(err)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(sampleAnswer))
	f.Add([]byte(`{"platforms":[{"name":"amd64"}]}`))
	y := yum{Archive: factory.Archive{ID: "a", Suite: "b"}, platform: factory.Platform{OS: "linux", Architecture: "amd64"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := parseAnswer(b, []factory.Platform{y.platform}, []yum{y})
		if err == nil && (len(all) != 1 || len(all[0].offers) > 0 && !below(all[0].offers[0].Path)) {
			t.Errorf("%+v", all)
		}
	})
}

func TestCompareEVR(t *testing.T) {
	t.Parallel()
	ordered := []string{"1.a-1", "1.0~rc1-1", "1.0-1", "1.0-1.el9", "1.0-1.el9_4", "1.0-1.el9_10", "1.0-2", "1.0^git1-1", "1.0.1-1", "1.1-1", "1.10-1", "2-1~x", "2-1", "1:0.1-1", "2:0-1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareEVR(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	if compareEVR("0:1-1", "1-1") != 0 || compareEVR("1.05-1", "1.5-1") != 0 {
		t.Error("no epoch is epoch 0, and numbers are numbers")
	}
}

func FuzzCompareEVR(f *testing.F) {
	f.Add("1:1.0~rc1-1", "1.0^git-1")
	f.Add("1..a-1", "0-")
	f.Fuzz(func(t *testing.T, a, b string) {
		if compareEVR(a, a) != 0 || compareEVR(a, b) != -compareEVR(b, a) {
			t.Errorf("%q %q", a, b)
		}
	})
}
