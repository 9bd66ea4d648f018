package definition_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const (
	rpmYAML     = "baseimages/hat/image.yaml"
	keyText     = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n"
	fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567"
)

// rpmFixture is the fixture with an image of an RPM family beside the others.
func rpmFixture() map[string]string {
	files := fixture()
	files["CODEOWNERS"] += "/baseimages/hat/ @example/linux\n/baseimages/part/ @example/linux\n"
	files[ownersYAML] += "  hat: linux\n  part: linux\n"
	files["baseimages/part/image.yaml"] = "from: hat\nsummary: On a hat\n"
	files["baseimages/part/tests.yaml"] = "nonRoot: true\n"
	files["baseimages/keys/hat-9.asc"] = keyText
	files["baseimages/hat/tests.yaml"] = "packages: {present: [libstdc++, ModemManager, python3_x]}\n"
	files[rpmYAML] = `kind: base
summary: A hat
distro: {family: redhat, release: "9", releasever: "9.6"}
endOfLife: 2032-05-31
archives:
  - {id: hats, suite: baseos, path: dist/$releasever/$basearch/os}
  - {id: hats, suite: extra, mirrorList: extra/$basearch/mirror.list, unsignedMetadata: true, only: [vim]}
keys:
  - {file: hat-9.asc, fingerprint: "` + fingerprint + `"}
packages:
  include: [bash, libstdc++]
  modules: ["nodejs:20"]
  omitPaths: [/usr/share/man/*]
platforms: [linux/amd64]
config:
  user: "65532:65532"
`
	return files
}

func TestLoadRPM(t *testing.T) {
	t.Parallel()
	set, err := load(t, rpmFixture())
	if err != nil {
		t.Fatal(err)
	}
	img, err := set.Image("hat")
	if err != nil {
		t.Fatal(err)
	}
	if want := (factory.Distro{Family: factory.RedHat, Release: "9", Releasever: "9.6"}); img.Distro != want {
		t.Errorf("distro %+v, want %+v", img.Distro, want)
	}
	archives := []factory.Archive{
		{ID: "hats", Suite: "baseos", Path: "dist/$releasever/$basearch/os"},
		{ID: "hats", Suite: "extra", MirrorList: "extra/$basearch/mirror.list", UnsignedMetadata: true, Only: []string{"vim"}},
	}
	if !reflect.DeepEqual(img.Archives, archives) {
		t.Errorf("archives %+v, want %+v", img.Archives, archives)
	}
	if want := []factory.Key{{File: "hat-9.asc", Fingerprint: fingerprint, Armored: keyText}}; !slices.Equal(img.Keys, want) {
		t.Errorf("keys %+v, want %+v", img.Keys, want)
	}
	if want := []string{"nodejs:20"}; !slices.Equal(img.Packages.Modules, want) {
		t.Errorf("modules %q, want %q", img.Packages.Modules, want)
	}
	if want := "baseimages/keys/hat-9.asc"; !slices.Contains(img.Inputs, want) {
		t.Errorf("the key is no input: %q", img.Inputs)
	}
}

// Every part of the question moves its digest; a Debian image's does not move because RPM has more parts.
func TestDigestRPM(t *testing.T) {
	t.Parallel()
	set, err := load(t, rpmFixture())
	if err != nil {
		t.Fatal(err)
	}
	img, _ := set.Image("hat")
	seen := map[factory.Digest]string{definition.Digest(img): "as it is"}
	for name, change := range map[string]func(*factory.Image){
		"key":         func(i *factory.Image) { i.Keys = []factory.Key{{Fingerprint: "A"}} },
		"module":      func(i *factory.Image) { i.Packages.Modules = []string{"nodejs:18"} },
		"releasever":  func(i *factory.Image) { i.Distro.Releasever = "latest" },
		"path":        func(i *factory.Image) { i.Archives[0].Path = "x" },
		"mirror list": func(i *factory.Image) { i.Archives[1].MirrorList = "x" },
		"unsigned":    func(i *factory.Image) { i.Archives[1].UnsignedMetadata = false },
	} {
		other := img
		other.Archives = slices.Clone(img.Archives)
		change(&other)
		d := definition.Digest(other)
		if seen[d] != "" {
			t.Errorf("%s: the digest is that of %s", name, seen[d])
		}
		seen[d] = name
	}
}

func TestRefuseRPM(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, old, new, want string }{
		{"keyring", rpmYAML, "keys:", "keyring: x.gpg\nkeys:", `hat/image.yaml:8:10: keyring: an image of redhat has none (remove it)`},
		{"code name", rpmYAML, `"9.6"`, `"9.6", codename: plow`, `distro.codename: an image of redhat has none`},
		{"essential", rpmYAML, "  include:", "  essential: true\n  include:", `packages.essential: RPM repositories mark nothing as essential (include what is needed)`},
		{"paths to keep", rpmYAML, "platforms:", "  keepPaths: [/usr/share/man/man1/*]\nplatforms:", `packages.keepPaths: an image of redhat has none`},
		{"pattern", rpmYAML, "/usr/share/man/*", "/usr/share/*/man", `packages.omitPaths: expected a whole folder, found "/usr/share/*/man" (like /usr/share/man/*)`},
		{"components", rpmYAML, "suite: baseos,", "suite: baseos, components: [main],", `archives.components: an RPM repository has none (remove it)`},
		{"expired", rpmYAML, "only: [vim]", "only: [vim], allowExpired: true", `archives.allowExpired: an RPM repository says nothing of when it expires`},
		{"two places", rpmYAML, "suite: baseos,", "suite: baseos, mirrorList: x,", `hat/image.yaml:6:5: archives: baseos has a path and a mirror list (keep one of them)`},
		{"no place", rpmYAML, ", path: dist/$releasever/$basearch/os", "", `hat/image.yaml:6:5: key "path" is missing in archives`},
		{"path that leaves", rpmYAML, "dist/$releasever", "../dist/$releasever", `archives.path: expected a relative path without . and ..`},
		{"path with dots inside", rpmYAML, "dist/$releasever", "dist/../$releasever", `archives.path: expected a relative path without . and .., with $releasever and $basearch, like os/$releasever/$basearch, found "dist/../$releasever/$basearch/os"`},
		{"unknown variable", rpmYAML, "dist/$releasever", "dist/$awsregion", `there is no variable $awsregion`},
		{"path with a host", rpmYAML, "path: dist", "path: http://archive.invalid/dist", `archives.path: expected a relative path`},
		{"no keys", rpmYAML, "keys:\n  - {file: hat-9.asc, fingerprint: \"" + fingerprint + "\"}\n", "", `hat/image.yaml:1:1: key "keys" is missing (add keys: with a file in baseimages/keys and its fingerprint)`},
		{"short fingerprint", rpmYAML, fingerprint, "01234567", `keys.fingerprint: expected a fingerprint in quotes: 40 upper-case hexadecimal digits without spaces, found "01234567"`},
		{"key that is not there", rpmYAML, "hat-9.asc", "hat-8.asc", `hat/image.yaml:9:12: keys: baseimages/keys/hat-8.asc cannot be read`},
		{"key that is none", "baseimages/keys/hat-9.asc", "BEGIN PGP", "BEGIN", `keys: baseimages/keys/hat-9.asc is not exactly one armored public key (gpg --armor --export FINGERPRINT makes one)`},
		{"two keys in a file", "baseimages/keys/hat-9.asc", keyText, keyText + keyText, `keys: baseimages/keys/hat-9.asc is not exactly one armored public key`},
		{"key with a tail", "baseimages/keys/hat-9.asc", keyText, keyText + "more\n", `is not exactly one armored public key`},
		{"key outside", rpmYAML, "hat-9.asc", "../owners.asc", `keys.file: expected the name of a file in baseimages/keys`},
		{"key twice", rpmYAML, "packages:", "  - {file: hat-9.asc, fingerprint: \"" + fingerprint + "\"}\npackages:", `keys: ` + fingerprint + ` is there twice, first in line 9`},
		{"module without a stream", rpmYAML, "nodejs:20", "nodejs", `packages.modules: expected a module and its stream, like nodejs:20, found "nodejs"`},
		{"releasever", rpmYAML, `releasever: "9.6"`, `releasever: newest`, `distro.releasever: expected a version of the release in quotes, like "2023.9.20251110", or latest`},

		{"a part", "baseimages/part/image.yaml", "summary:", "only: [bash]\nsummary:", `part/image.yaml:2:8: only: parts are made of Debian images, and hat is one of RPM packages (build on the whole of it)`},

		{"deb with keys", imageYAML, "users:", "keys:\n  - {file: hat-9.asc, fingerprint: \"" + fingerprint + "\"}\nusers:", `small/image.yaml:16:5: keys: an image of debian has none`},
		{"deb with modules", imageYAML, "  exclude: [mount]", "  exclude: [mount]\n  modules: [\"a:b\"]", `packages.modules: an image of debian has none`},
		{"deb with a path", imageYAML, "suite: bookworm, components: [main]", "suite: bookworm, components: [main], path: x, mirrorList: y", `archives.mirrorList: an image of debian has none`},
		{"deb unsigned", imageYAML, "suite: bookworm, components: [main]", "suite: bookworm, components: [main], unsignedMetadata: true", `archives.unsignedMetadata: apt takes no suite that is not signed (remove it)`},
		{"deb with releasever", imageYAML, "codename: bookworm}", "codename: bookworm, releasever: latest}", `distro.releasever: an image of debian has none`},
		{"deb in capitals", imageYAML, "[ca-certificates, tzdata]", "[Tzdata]", `small/image.yaml:10:13: expected the name of a Debian package, in lower case, like libpam-modules, found "Tzdata"`},
		{"deb in capitals, in tests", testsYAML, "absent: [sudo]", "absent: [Sudo]", `small/tests.yaml: expected the name of a Debian package, in lower case, like libpam-modules, found "Sudo"`},
		{"deb in capitals, in waivers", waiversYAML, "[openssl]", "[open_ssl]", `small/waivers.yaml: expected the name of a Debian package`},
		{"deb without components", imageYAML, "suite: bookworm, components: [main]", "suite: bookworm", `small/image.yaml:7:5: key "components" is missing in archives (add components: [main])`},
		{"deb without a keyring", sharedYAML, "  keyring: debian-archive-keyring.gpg\n", "", `small/image.yaml:1:1: key "keyring" is missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := rpmFixture()
			if !strings.Contains(files[c.file], c.old) {
				t.Fatalf("%s does not contain %q", c.file, c.old)
			}
			files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
			if _, err := load(t, files); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}
