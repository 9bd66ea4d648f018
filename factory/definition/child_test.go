package definition_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const (
	childYAML   = "baseimages/child/image.yaml"
	childTests  = "baseimages/child/tests.yaml"
	childWaiver = "baseimages/child/waivers.yaml"
)

// family is the fixture with a child of small, a part of it and a grandchild.
func family() map[string]string {
	files := fixture()
	owned := func(names ...string) {
		for _, name := range names {
			files["CODEOWNERS"] += "/baseimages/" + name + "/ @example/linux\n"
			files[ownersYAML] += "  " + name + ": linux\n"
		}
	}
	owned("child", "grandchild", "part")
	maps.Copy(files, map[string]string{
		childYAML: `from: small
summary: A child
packages:
  include: [mount, python3]
platforms: [linux/amd64]
users:
  - {name: app, uid: 1000, gid: 1000, home: /app, shell: /bin/sh}
hardening:
  level: 2
  exempt:
    - {control: "1.3", reason: why, until: 2026-12-31}
files:
  - {path: /etc/motd, source: files/motd}
  - {path: /app/run, source: files/bin/run, mode: "0755", owner: "1000"}
config:
  user: "1000:1000"
  env: {LANG: C.UTF-8, APP: a}
  cmd: [python3]
`,
		"baseimages/child/files/motd":    "hello\n",
		"baseimages/child/files/bin/run": "#!/bin/sh\n",
		childTests: `commands:
  - {name: prints its release, run: [python3, --version]}
files:
  - {path: /etc/passwd, type: file}
packages:
  present: [sudo]
  absent: [bash]
users:
  - {name: root, uid: 0, gid: 0, home: /root}
setuid: [/usr/bin/mount]
`,
		childWaiver: `image: child
waivers:
  - {id: CVE-2026-1234, packages: [openssl], reason: stated anew, by: linux, until: 2026-12-30}
  - {id: CVE-2026-9999, reason: of its own, by: linux, until: 2026-12-30}
`,
		"baseimages/grandchild/image.yaml": "from: child\nsummary: A grandchild\ndockerfile: Dockerfile\n",
		"baseimages/grandchild/tests.yaml": "nonRoot: true\n",
		"baseimages/grandchild/Dockerfile": "FROM child\nCOPY app /app\n",
		"baseimages/grandchild/files/app":  "x",
		"baseimages/part/image.yaml":       "from: small\nsummary: A part\nonly: [tzdata, ca-certificates]\nconfig: {cmd: []}\n",
		"baseimages/part/tests.yaml":       "nonRoot: true\n",
	})
	files[profileYAML] = strings.Replace(files[profileYAML], `releases: ["13"]`, `releases: ["12"]`, 1)
	return files
}

func image(t *testing.T, set definition.Set, name string) factory.Image {
	t.Helper()
	img, err := set.Image(name)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestChild(t *testing.T) {
	t.Parallel()
	set, err := load(t, family())
	if err != nil {
		t.Fatal(err)
	}
	small, child := image(t, set, "small"), image(t, set, "child")
	same := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	same("kind", child.Kind, factory.KindBase)
	same("distro", child.Distro, small.Distro)
	same("end of life", child.EndOfLife, small.EndOfLife)
	same("archives", child.Archives, small.Archives)
	same("keyring", child.Keyring, small.Keyring)
	same("include", child.Packages.Include, []string{"ca-certificates", "mount", "python3", "tzdata"})
	same("exclude: what it includes is not excluded any more", child.Packages.Exclude, []string(nil))
	same("paths", child.Packages.OmitPaths, small.Packages.OmitPaths)
	same("platforms", child.Platforms, small.Platforms[:1])
	same("users", []string{child.Users[0].Name, child.Users[1].Name}, []string{"app", "nonroot"})
	same("level", child.Hardening.Level, 2)
	same("profile", child.Hardening.Profile, "cis_debian")
	same("exemptions", []string{child.Hardening.Exempt[0].Control, child.Hardening.Exempt[1].Control}, []string{"1.1", "1.3"})
	same("variables", child.Hardening.Vars, small.Hardening.Vars)
	same("user", child.Config.User, "1000:1000")
	same("env", child.Config.Env, []string{"APP=a", "LANG=C.UTF-8", "PATH=/usr/bin"})
	same("cmd", child.Config.Cmd, []string{"python3"})
	same("its own words", child.Said, []string{"cmd", "env.APP", "env.LANG", "user"})
	same("no words of its own", image(t, set, "grandchild").Said, []string(nil))
	same("the word that takes away", image(t, set, "part").Said, []string{"cmd"})
	same("nobody's child", small.Said, []string(nil))
	same("entrypoint", child.Config.Entrypoint, small.Config.Entrypoint)
	same("labels", child.Config.Labels, small.Config.Labels)
	same("files", child.Files, []factory.AddedFile{
		{Path: "/app/run", Source: "files/bin/run", Mode: 0o755, Owner: "1000:1000", Data: []byte("#!/bin/sh\n")},
		{Path: "/etc/motd", Source: "files/motd", Mode: 0o644, Owner: "0:0", Data: []byte("hello\n")},
	})
	same("where", child.Where.String(), childYAML+":1:1")
	for _, input := range append(small.Inputs, "baseimages/child") {
		if !slices.Contains(child.Inputs, input) {
			t.Errorf("%s is no input of the child", input)
		}
	}
	same("ancestors", []string{set.Ancestors("grandchild")[0].Name, set.Ancestors("grandchild")[1].Name}, []string{"small", "child"})
	same("no ancestors", len(set.Ancestors("small"))+len(set.Ancestors("nobody")), 0)

	tests := child.Tests
	same("commands", len(tests.Commands), 1)
	same("command", tests.Commands[0].Run, []string{"python3", "--version"})
	same("files", []factory.FileTest{{Path: tests.Files[0].Path, Absent: tests.Files[0].Absent}, {Path: tests.Files[1].Path, Type: tests.Files[1].Type, Mode: tests.Files[1].Mode}},
		[]factory.FileTest{{Path: "/usr/bin/sudo", Absent: true}, {Path: "/etc/passwd", Type: "file"}})
	same("packages", tests.Packages, factory.PackageTest{Present: []string{"sudo"}, Absent: []string{"bash"}})
	same("users", tests.Users, []factory.UserTest{{Name: "root", Home: "/root"}})
	same("setuid", tests.Setuid, []string{"/usr/bin/mount", "/usr/bin/su"})
	same("nonRoot", tests.NonRoot, true)

	same("waivers", []string{child.Waivers[0].Reason, child.Waivers[1].Reason}, []string{"stated anew", "of its own"})
	grand := image(t, set, "grandchild")
	same("waivers of the grandchild", []string{grand.Waivers[0].Inherited, grand.Waivers[1].Inherited, grand.Waivers[0].Where.File}, []string{"child", "child", childWaiver})
	same("files of the grandchild", grand.Files, []factory.AddedFile(nil))
	same("dockerfile", grand.Dockerfile, "Dockerfile")
	same("summary", grand.Summary, "A grandchild")
}

// A part of an image has what it names, and is tested for nothing else.
func TestPart(t *testing.T) {
	t.Parallel()
	set, err := load(t, family())
	if err != nil {
		t.Fatal(err)
	}
	part := image(t, set, "part")
	if p := part.Packages; p.Essential || p.Include != nil || p.Exclude != nil || len(p.OmitPaths) != 1 || !slices.Equal(part.Only, []string{"ca-certificates", "tzdata"}) {
		t.Errorf("%+v, only %v", p, part.Only)
	}
	if part.Config.Cmd != nil || part.Tests.Commands != nil || part.Tests.Setuid != nil || !part.Tests.NonRoot {
		t.Errorf("%+v %+v", part.Config, part.Tests)
	}
	if len(part.Waivers) != 1 || part.Waivers[0].Inherited != "small" {
		t.Errorf("%+v", part.Waivers)
	}
	other := part
	other.Only = part.Only[:1]
	if definition.Digest(other) == definition.Digest(part) {
		t.Error("another part has the same digest")
	}
}

func TestRefuseChild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, old, new, want string }{
		{"unknown parent", childYAML, "from: small", "from: smal", `child/image.yaml:1:7: from: there is no image "smal" (did you mean small?)`},
		{"parent as a list", childYAML, "from: small", "from: [small]", `child/image.yaml:1:7: from: expected an image name: lower-case letters, digits, single dots and dashes, found a list`},
		{"its own parent", childYAML, "from: small", "from: child", `child/image.yaml:1:7: from: images that are built on each other: child → child (cut it in one place)`},
		{"circle", childYAML, "from: small", "from: grandchild", `from: images that are built on each other: child → grandchild → child`},
		{"toolbox as parent", childYAML, "from: small", "from: box", `child/image.yaml:1:7: from: box is a toolbox, which nobody builds on (name a base image)`},
		{"toolbox as child", childYAML, "from: small\n", "from: small\nkind: toolbox\n", `child/image.yaml:1:7: from: a toolbox is made of packages alone`},
		{"another family", childYAML, "from: small\n", "from: small\ndistro: {release: \"13\"}\n", `child/image.yaml:2:19: distro.release: expected what small is, 12, found "13" (leave it to the parent)`},
		{"a code name more", childYAML, "from: small\n", "from: small\ndistro: {releasever: latest}\n", `distro.releasever: an image of debian has none`},
		{"platform that the parent has not", "baseimages/grandchild/image.yaml", "from: child\n", "from: child\nplatforms: [linux/arm64]\n", `grandchild/image.yaml:2:13: platforms: child is not made for linux/arm64`},
		{"no summary", childYAML, "summary: A child\n", "", `child/image.yaml:1:1: key "summary" is missing`},
		{"excludes what the parent has", childYAML, "include: [mount, python3]", "exclude: [tzdata]", `child/image.yaml:4:13: packages: tzdata is excluded here and included in`},
		{"parent's account", childYAML, "name: app,", "name: nonroot,", `child/image.yaml:7:12: users: the name nonroot is taken in baseimages/small/image.yaml:16:5 (remove it, the image has that account already; or choose another name)`},
		{"part by nobody", imageYAML, "kind: base\n", "kind: base\nonly: [tzdata]\n", `small/image.yaml:3:8: only: this image is built on no other (only a child has it: say from:, or remove it)`},
		{"files for nobody", imageYAML, "kind: base\n", "kind: base\nfiles:\n  - {path: /a, source: files/a}\n", `small/image.yaml:4:5: files: this image is built on no other`},
		{"Dockerfile for nobody", imageYAML, "kind: base\n", "kind: base\ndockerfile: Dockerfile\n", `small/image.yaml:3:13: dockerfile: this image is built on no other`},
		{"another file as Dockerfile", "baseimages/grandchild/image.yaml", "dockerfile: Dockerfile", "dockerfile: image.yaml", `dockerfile: expected Dockerfile or Containerfile, in the image's folder, found "image.yaml"`},
		{"Dockerfile missing", "baseimages/grandchild/image.yaml", "dockerfile: Dockerfile", "dockerfile: Containerfile", `grandchild/image.yaml:3:13: dockerfile: Containerfile: there is no such file (make it, with FROM child)`},
		{"Dockerfile and files", "baseimages/grandchild/image.yaml", "dockerfile: Dockerfile\n", "dockerfile: Dockerfile\nfiles:\n  - {path: /a, source: files/app}\n", `grandchild/image.yaml:5:5: files: the Dockerfile has everything below files/ already`},
		{"Dockerfile of a part", "baseimages/grandchild/image.yaml", "dockerfile: Dockerfile\n", "dockerfile: Dockerfile\nonly: [tzdata]\n", `grandchild/image.yaml:3:13: dockerfile: an image with only a part of its parent`},
		{"file that is not there", childYAML, "source: files/motd", "source: files/modt", `child/image.yaml:13:31: files: files/modt: there is no such file (did you mean files/motd?)`},
		{"file that nobody gets", childYAML, "  - {path: /etc/motd, source: files/motd}\n", "", `child/files/motd: the image does not get this file (name it under files: in image.yaml, or remove it)`},
		{"file of the folder", childYAML, "source: files/motd", "source: image.yaml", `files.source: expected a file below files/ of the image's folder, like files/motd, found "image.yaml"`},
		{"file elsewhere", childYAML, "source: files/motd", "source: files/../../small/image.yaml", `files.source: expected a file below files/`},
		{"leftover", childYAML, "source: files/motd", "source: files/motd.pyc", `(files that tools leave behind are no part of a definition)`},
		{"path twice", childYAML, "path: /app/run", "path: /etc/motd", `child/image.yaml:14:12: files: /etc/motd is there twice, first in line 13`},
		{"path relative", childYAML, "path: /etc/motd", "path: etc/motd", `files.path: expected an absolute path without . and ..`},
		{"path of the package manager", childYAML, "path: /etc/motd", "path: /var/lib/dpkg/status", `(nothing is put below /var/lib/dpkg)`},
		{"setuid", childYAML, `mode: "0755"`, `mode: "4755"`, `files.mode: expected permissions as four octal digits`},
		{"owner by name", childYAML, `owner: "1000"`, `owner: app`, `files.owner: expected a numeric user`},
		{"packages on a part", "baseimages/grandchild/image.yaml", "from: child\nsummary: A grandchild\ndockerfile: Dockerfile\n", "from: part\nsummary: A grandchild\ndockerfile: Dockerfile\npackages: {include: [curl]}\n", `grandchild/image.yaml:4:22: packages.include: part has only a part of its parent`},
		{"account on a part", "baseimages/grandchild/image.yaml", "from: child\nsummary: A grandchild\ndockerfile: Dockerfile\n", "from: part\nsummary: A grandchild\ndockerfile: Dockerfile\nusers: [{name: web, uid: 2000, gid: 2000, home: /home/web, shell: /usr/sbin/nologin}]\n", `grandchild/image.yaml:4:16: users: part has only a part of its parent`},
		{"shared parent", sharedYAML, "image:\n", "image:\n  from: small\n", `shared/debian.yaml:2:3: from: a shared file cannot say it (write it in the image's own image.yaml)`},
		{"mistake in the parent", imageYAML, "level: 1", "level: 3", `small/image.yaml:19:10: hardening.level`},
		{"command twice", childTests, "files:\n", "  - {name: prints its release, run: [ls]}\nfiles:\n", `child/tests.yaml:3:12: commands: "prints its release" is there twice`},
		{"waivers of the parent", childWaiver, "image: child", "image: small", `image: expected child, the folder's name, found "small"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := family()
			if !strings.Contains(files[c.file], c.old) {
				t.Fatalf("%s does not contain %q", c.file, c.old)
			}
			files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
			set, err := load(t, files)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, factory.ErrInvalid) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if strings.HasPrefix(c.file, "baseimages/child") && !slices.Equal(set.Broken, []string{"child", "grandchild"}) {
				t.Errorf("broken: %v", set.Broken)
			}
		})
	}
}

// What is wrong in a parent is told once, and what its children say wrong is told all the same.
func TestBrokenParent(t *testing.T) {
	t.Parallel()
	files := family()
	files[imageYAML] = strings.Replace(files[imageYAML], "level: 1", "level: 3", 1)
	files[childYAML] = strings.Replace(files[childYAML], "uid: 1000", "uid: many", 1)
	set, err := load(t, files)
	if all := factory.Problems(err); len(all) != 2 || all[0].Where.File != childYAML || all[1].Where.File != imageYAML {
		t.Errorf("%v", err)
	}
	if !slices.Equal(set.Broken, []string{"child", "grandchild", "part", "small"}) || !maps.Equal(set.Behind, map[string]string{"grandchild": "child", "part": "small"}) {
		t.Error(set.Broken, set.Behind)
	}
}

func TestChildrenFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, body, want string }{
		"link":            {"baseimages/child/files/motd", "-> ../../small/image.yaml", "files/motd: is a symbolic link"},
		"folder":          {"baseimages/child/files/motd/x", "y", "files/motd: is a folder"},
		"too large":       {"baseimages/child/files/motd", strings.Repeat("x", 4<<20+1), "files/motd: 4194305 bytes, expected at most 4194304"},
		"link beside":     {"baseimages/child/files/other", "-> motd", "child/files/other: is a symbolic link"},
		"no such folder":  {"baseimages/small/files/motd", "x", "small/files: unknown file"},
		"Dockerfile more": {"baseimages/child/Dockerfile", "FROM x", "child/Dockerfile: unknown file"},
		"tests missing":   {childTests, "", "child/tests.yaml: the file is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := family()
			for other := range files {
				if strings.HasPrefix(c.file, other+"/") {
					delete(files, other)
				}
			}
			if files[c.file] = c.body; c.body == "" {
				delete(files, c.file)
			}
			if _, err := load(t, files); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	files := family()
	for i := range 5 {
		files[fmt.Sprintf("baseimages/child/files/%d", i)] = strings.Repeat("x", 4<<20)
		files[childYAML] = strings.Replace(files[childYAML], "files:\n", fmt.Sprintf("files:\n  - {path: /%d, source: files/%d}\n", i, i), 1)
	}
	if _, err := load(t, files); err == nil || !strings.Contains(err.Error(), "more than 16777216 bytes together") {
		t.Error(err)
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	files := family()
	parent := "small"
	for i := range 11 {
		name := fmt.Sprintf("level%d", i+1)
		files["baseimages/"+name+"/image.yaml"] = "from: " + parent + "\nsummary: One more\n"
		files["baseimages/"+name+"/tests.yaml"] = "nonRoot: true\n"
		files["CODEOWNERS"] += "/baseimages/" + name + "/ @example/linux\n"
		files[ownersYAML] += "  " + name + ": linux\n"
		parent = name
	}
	set, err := load(t, files)
	if err == nil || !strings.Contains(err.Error(), "level11/image.yaml:1:7: from: level11 would be built on 11 images, one on the other, expected at most 10") {
		t.Error(err)
	}
	if len(set.Ancestors("level10")) != 10 || !slices.Equal(set.Broken, []string{"level11"}) {
		t.Error(set.Broken, len(set.Ancestors("level10")))
	}
}

// A child is loaded again from its own inputs alone, with everything that it is built on.
func TestPackChild(t *testing.T) {
	t.Parallel()
	dir := write(t, family())
	set, err := definition.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	grand := image(t, set, "grandchild")
	b, before, err := definition.Pack(dir, grand)
	if err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if err := definition.Unpack(b, again); err != nil {
		t.Fatal(err)
	}
	packed, err := definition.Load(again)
	if err != nil {
		t.Fatal(err)
	}
	if got := image(t, packed, "grandchild"); !reflect.DeepEqual(got, grand) {
		t.Errorf("got  %+v\nwant %+v", got, grand)
	}
	if _, err := packed.Image("part"); err == nil {
		t.Error("an image that it is not built on is packed too")
	}
	if err := os.WriteFile(filepath.Join(dir, "baseimages/small/lock.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, after, err := definition.Pack(dir, grand); err != nil || after == before {
		t.Error("a changed lock of an ancestor leaves the inputs as they were", err)
	}
}
