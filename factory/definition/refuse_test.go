package definition_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

const (
	imageYAML   = "baseimages/small/image.yaml"
	testsYAML   = "baseimages/small/tests.yaml"
	waiversYAML = "baseimages/small/waivers.yaml"
	ownersYAML  = "baseimages/owners.yaml"
	sharedYAML  = "baseimages/shared/debian.yaml"
	profileYAML = "ansible/profiles/cis_debian.yaml"
)

// Each mistake is told where it is, with what was expected and what to write instead.
func TestRefuse(t *testing.T) {
	t.Parallel()
	// the mistakes that leave the image itself in order
	elsewhere := []string{"toolbox with a profile", "owner twice", "owner of nothing", "nothing to install", "code owner of nothing"}
	for _, c := range []struct{ name, file, old, new, want string }{
		// the form
		{"unknown key", imageYAML, "summary:", "sumary:", `small/image.yaml:3:1: unknown key "sumary" (did you mean summary?)`},
		{"unknown inner key", imageYAML, "codename:", "codenam:", `small/image.yaml:4:41: unknown key "codenam" in distro (did you mean codename?)`},
		{"key far from all", sharedYAML, "tests:\n  nonRoot: true\n", "zzzzzzzz:\n", `shared/debian.yaml:12:1: unknown key "zzzzzzzz" (known: image, tests)`},
		{"missing key", imageYAML, "summary: A small image\n", "", `small/image.yaml:1:1: key "summary" is missing (add summary: What the image is, in one line.)`},
		{"missing inner key", imageYAML, "uid: 65532, ", "", `small/image.yaml:16:5: key "uid" is missing in users`},
		{"key twice", imageYAML, "kind: base\n", "kind: base\nkind: toolbox\n", `small/image.yaml:3:1: key "kind" is there twice, first in line 2`},
		{"variable twice", imageYAML, "    LANG: C\n", "    LANG: C\n    LANG: D\n", `small/image.yaml:33:5: key "LANG" is there twice, first in line 32`},
		{"text for a list", imageYAML, "[ca-certificates, tzdata]", "tzdata", `small/image.yaml:10:12: packages.include: expected a list, found text "tzdata"`},
		{"number for text", imageYAML, `release: "12"`, "release: 12", `small/image.yaml:4:35: distro.release: expected a release in quotes, like "12", found a whole number (put it in quotes: "12")`},
		{"nothing for text", imageYAML, "summary: A small image", "summary:", `small/image.yaml:3:9: summary: expected one line of text, found nothing`},
		{"text for a mapping", imageYAML, `{family: debian, release: "12", codename: bookworm}`, "debian 12", `small/image.yaml:4:9: distro: expected a mapping with family, release, codename, releasever, found text "debian 12"`},
		{"list for a table", imageYAML, "  env:\n    LANG: C\n", "  env: [LANG=C]\n", `small/image.yaml:31:8: config.env: expected a mapping, found a list`},
		{"text for a truth value", sharedYAML, "essential: true", "essential: yes", `shared/debian.yaml:6:16: packages.essential: expected true or false, found text "yes"`},
		{"text for a number", imageYAML, "uid: 65532,", "uid: root,", `small/image.yaml:16:26: users.uid: expected a whole number from 1 to 999999999, found text "root"`},
		{"a list as document", imageYAML, "use: [debian]\n", "- use: [debian]\n", `small/image.yaml:2:1: is no YAML`},
		{"not a mapping", waiversYAML, "image: small\nwaivers:\n", "", `small/waivers.yaml:1:3: the file: expected a mapping with image, waivers, found a list`},
		{"broken YAML", imageYAML, "summary: A small image", `summary: "A small image`, `small/image.yaml:4:36: is no YAML`},
		{"anchor", imageYAML, "kind: base", "kind: &k base", `small/image.yaml:2:7: anchors, aliases and merge keys are not allowed`},
		{"tag", imageYAML, "kind: base", "kind: !!str base", `small/image.yaml:2:7: tags, directives and ? keys are not allowed`},
		{"second document", imageYAML, "    org.example.own: small\n", "    org.example.own: small\n---\nkind: base\n", `a second document in one file (keep one document)`},
		{"same entry twice", imageYAML, "[ca-certificates, tzdata]", "[ca-certificates, ca-certificates]", `small/image.yaml:10:30: packages.include: "ca-certificates" is there twice, first in line 10`},
		{"platform list empty", imageYAML, "[linux/arm64, linux/amd64]", "[]", `small/image.yaml:14:12: platforms: expected at least one entry`},
		// names and values
		{"package with a version", imageYAML, "tzdata]", "tzdata=1.0]", `small/image.yaml:10:30: packages.include: expected a package name without version or architecture, like libpam-modules, found "tzdata=1.0"`},
		{"package that is an option", imageYAML, "tzdata]", "--purge]", `found "--purge"`},
		{"excluded and included", imageYAML, "exclude: [mount]", "exclude: [tzdata]", `small/image.yaml:11:13: packages: tzdata is excluded here and included in baseimages/shared/debian.yaml:7:15`},
		{"archive as URL", imageYAML, "id: debian-security", "id: http://archive.invalid/debian", `small/image.yaml:8:10: archives.id: expected an archive id, like debian-security (its URL is configuration, not definition)`},
		{"suite twice", imageYAML, "{id: debian-security, suite: bookworm-security, components: [main]}", "{id: debian, suite: bookworm, components: [main, contrib]}", `small/image.yaml:8:5: archives: suite bookworm of debian is there twice, first in baseimages/shared/debian.yaml:3:7`},
		{"expired without only", imageYAML, "suite: bookworm-security, components: [main]", "suite: bookworm-security, components: [main], allowExpired: true", `small/image.yaml:8:5: archives: allowExpired without only would take any old package`},
		{"keyring as path", sharedYAML, "keyring: debian-archive-keyring.gpg", "keyring: ../keys/mine.gpg", `shared/debian.yaml:4:12: keyring: expected a file name below /usr/share/keyrings`},
		{"unknown family", imageYAML, "family: debian", "family: debain", `small/image.yaml:4:18: distro.family: expected debian or redhat or amazon, found "debain" (did you mean debian?)`},
		{"unknown platform", imageYAML, "linux/arm64", "linux/arm", `small/image.yaml:14:13: platforms: expected linux/amd64 or linux/arm64, found "linux/arm"`},
		{"no such day", imageYAML, "endOfLife: 2028-06-30", "endOfLife: 2028-06-31", `small/image.yaml:5:12: endOfLife: expected a day, like 2026-11-23, found "2028-06-31" (there is no such day)`},
		{"other date form", imageYAML, "endOfLife: 2028-06-30", "endOfLife: 30.6.2028", `small/image.yaml:5:12: endOfLife: expected a day`},
		{"no end of life", imageYAML, "endOfLife: 2028-06-30\n", "", `small/image.yaml:1:1: key "endOfLife" is missing`},
		{"omitted path relative", imageYAML, "omitPaths: [/usr/share/doc/*]", "omitPaths: [../doc/*]", `small/image.yaml:12:15: packages.omitPaths: expected an absolute path`},
		{"path with dots", imageYAML, "workdir: /home/nonroot", "workdir: /home/../etc", `small/image.yaml:35:12: config.workdir: expected an absolute path without . and .., found "/home/../etc" (write it as /etc)`},
		{"bad account", imageYAML, "name: nonroot,", "name: Non Root,", `small/image.yaml:16:12: users.name: expected an account name`},
		{"root again", imageYAML, "name: nonroot,", "name: root,", `small/image.yaml:16:12: users: the name root is taken by the system`},
		{"uid twice", imageYAML, "hardening:\n", "  - {name: other, uid: 65532, gid: 1, home: /, shell: /bin/sh}\nhardening:\n", `small/image.yaml:17:24: users: the uid 65532 is taken in baseimages/small/image.yaml:16:5`},
		{"name twice", imageYAML, "hardening:\n", "  - {name: nonroot, uid: 9, gid: 1, home: /, shell: /bin/sh}\nhardening:\n", `small/image.yaml:17:12: users: the name nonroot is taken in`},
		{"user by name", imageYAML, `user: "65532:65532"`, "user: nonroot", `small/image.yaml:30:9: config.user: expected a numeric user`},
		{"user is root", imageYAML, `user: "65532:65532"`, `user: "0:65532"`, `small/image.yaml:30:9: config.user: expected a user that is not root, found 0:65532`},
		{"no user", imageYAML, `  user: "65532:65532"` + "\n", "", `small/image.yaml:30:3: config: key "user" is missing`},
		{"bad variable", imageYAML, "    LANG: C\n", "    LANG-X: C\n", `small/image.yaml:32:5: config.env: expected the name of an environment variable: letters, digits and _, found "LANG-X"`},
		{"variable as number", imageYAML, "    LANG: C\n", "    LANG: 1\n", `small/image.yaml:32:11: config.env.LANG: expected text on one line, found a whole number (put it in quotes: "1")`},
		{"bad label", imageYAML, "    org.example.own: small\n", "    Own Label: small\n", `config.labels: expected a label, like org.opencontainers.image.vendor, found "Own Label"`},
		{"bad signal", imageYAML, "SIGTERM", "TERM", `config.stopSignal: expected a signal, like SIGTERM, found "TERM"`},
		{"nothing to install", sharedYAML, "    essential: true\n    include: [tzdata]\n", "    essential: false\n", `shared/debian.yaml:6:5: packages: nothing is to be installed`},
		// hardening
		{"level", imageYAML, "level: 1", "level: 3", `small/image.yaml:19:10: hardening.level: expected a whole number from 1 to 2, found a whole number "3"`},
		{"scope", imageYAML, "scope: container", "scope: contaner", `small/image.yaml:20:10: hardening.scope: expected container or vm, found "contaner" (did you mean container?)`},
		{"unknown profile", imageYAML, "profile: cis_debian", "profile: cis_debain", `small/image.yaml:18:12: no profile "cis_debain" in ansible/profiles (did you mean cis_debian?)`},
		{"profile leaves the folder", imageYAML, "profile: cis_debian", "profile: ../../etc/x", `small/image.yaml:18:12: hardening.profile: expected the name of a file in ansible/profiles`},
		{"unknown control", imageYAML, `control: "1.1"`, `control: "1.11"`, `small/image.yaml:22:17: hardening.exempt: profile cis_debian has no control 1.11, expected one that it has (did you mean 1.1?)`},
		{"control as number", imageYAML, `control: "1.1"`, `control: 1.1`, `(put it in quotes: "1.1")`},
		{"control without effect", imageYAML, `control: "1.1"`, `control: "1.2"`, `small/image.yaml:22:17: hardening.exempt: control 1.2 (level 2, vm) has no effect here anyway (remove the exemption)`},
		{"control of another release", imageYAML, `control: "1.1"`, `control: "1.3"`, `control 1.3 (level 1, container) has no effect here anyway`},
		{"exempt twice", imageYAML, "until: 2026-12-31}\n", "until: 2026-12-31}\n    - {control: \"1.1\", reason: again, until: 2026-12-31}\n", `small/image.yaml:23:17: hardening.exempt: control 1.1 is there twice`},
		{"exempt without reason", imageYAML, "reason: breaks the cache, ", "", `small/image.yaml:22:7: key "reason" is missing in hardening.exempt`},
		{"exempt for an empty reason", imageYAML, "reason: breaks the cache", `reason: " "`, `hardening.exempt.reason: expected one line of text`},
		{"exempt for ever", imageYAML, "until: 2026-12-31", "until: never", `small/image.yaml:22:57: hardening.exempt.until: expected a day, like 2026-11-23, found "never"`},
		{"exempt without end", imageYAML, ", until: 2026-12-31", "", `small/image.yaml:22:7: key "until" is missing in hardening.exempt`},
		{"unknown role variable", imageYAML, "cis_days: 90", "cis_day: 90", `small/image.yaml:24:5: hardening.vars: no role of cis_debian has the variable cis_day in its defaults (did you mean cis_days?)`},
		{"variable of the factory", imageYAML, "cis_days: 90", "hardening_level: 2", `small/image.yaml:24:5: hardening.vars: hardening_level belongs to the factory`},
		{"mapping as variable", imageYAML, "cis_days: 90", "cis_days: {a: b}", `small/image.yaml:24:15: hardening.vars.cis_days: expected text, a number, true, false or a list of text, found a mapping`},
		{"infinite variable", imageYAML, "cis_days: 90", "cis_days: .inf", `hardening.vars.cis_days: expected text, a number`},
		{"numbers in a variable", imageYAML, "cis_list: [a, b]", "cis_list: [a, 1]", `small/image.yaml:28:19: hardening.vars.cis_list: expected text`},
		{"toolbox with a profile", "baseimages/box/image.yaml", "kind: toolbox\n", "kind: toolbox\nhardening: {profile: cis_debian, level: 1, scope: container}\n", `box/image.yaml:3:12: hardening: a toolbox is never published, so it has no profile`},
		// sharing
		{"unknown shared file", imageYAML, "use: [debian]", "use: [debain]", `small/image.yaml:1:7: use: there is no baseimages/shared/debain.yaml (did you mean debian?)`},
		{"shared file elsewhere", testsYAML, "use: [debian]", "use: [../../etc/passwd]", `small/tests.yaml:1:7: use: there is no baseimages/shared/../../etc/passwd.yaml`},
		{"shared uses shared", sharedYAML, "image:\n", "image:\n  use: [debian]\n", `shared/debian.yaml:2:9: a shared file cannot use another one`},
		{"shared is broken", sharedYAML, "image:\n", "image: [\n", `small/image.yaml:1:7: use: baseimages/shared/debian.yaml cannot be read (mend that file first)`},
		{"mistake in a shared file", sharedYAML, "suite: bookworm,", "suite: Bookworm,", `shared/debian.yaml:3:27: archives.suite: expected a suite`},
		// tests
		{"expression", testsYAML, `'^12\.'`, `'^12\.('`, "small/tests.yaml:7:13: commands.stdout: expected a regular expression (RE2), found \"^12\\\\.(\" (missing closing ): `^12\\.(`)"},
		{"exit code", testsYAML, "exit: 0", "exit: 256", `small/tests.yaml:6:11: commands.exit: expected a whole number from 0 to 255`},
		{"nothing to run", testsYAML, "run: [cat, /etc/debian_version]", "run: []", `small/tests.yaml:4:10: commands.run: expected at least one entry`},
		{"command twice", testsYAML, "files:\n", "  - {name: prints its release, run: [ls]}\nfiles:\n", `small/tests.yaml:10:12: commands: "prints its release" is there twice, first in baseimages/small/tests.yaml:3:11`},
		{"mode as number", sharedYAML, `mode: "0644"`, `mode: 0644`, `shared/debian.yaml:15:33: files.mode: expected four octal digits in quotes, like "0644", found a whole number (put it in quotes: "0644")`},
		{"file owner by number", sharedYAML, `owner: "root:root"`, `owner: "0:0"`, `files.owner: expected user:group by name`},
		{"file type", testsYAML, "absent: true", "type: fil", `small/tests.yaml:11:33: files.type: expected file or directory or symlink, found "fil" (did you mean file?)`},
		{"absent with a mode", testsYAML, "absent: true", `absent: true, mode: "0755"`, `small/tests.yaml:11:5: files: /usr/bin/sudo cannot be absent and have a type, mode, owner or content`},
		{"file twice", testsYAML, "/usr/bin/sudo, absent: true", "/etc/passwd, type: file", `small/tests.yaml:11:12: files: /etc/passwd is there twice, first in baseimages/shared/debian.yaml:15:14`},
		{"present and absent", testsYAML, "absent: [sudo]", "absent: [bash]", `small/tests.yaml:14:12: packages: bash is absent here and present in line 13`},
		{"tests use nothing known", testsYAML, "use: [debian]", "use: [1]", `small/tests.yaml:1:7: use: expected the name of a file in baseimages/shared`},
		{"setuid relative", testsYAML, "[/usr/bin/su]", "[su]", `small/tests.yaml:17:10: setuid: expected an absolute path`},
		// waivers
		{"waiver without reason", waiversYAML, "reason: not reachable, ", "", `small/waivers.yaml:3:5: key "reason" is missing in waivers`},
		{"waiver without end", waiversYAML, ", until: 2026-12-31", "", `small/waivers.yaml:3:5: key "until" is missing in waivers`},
		{"waiver for nothing", waiversYAML, "id: CVE-2026-1234", "id: CVE", `small/waivers.yaml:3:10: waivers.id: expected a vulnerability (CVE-2026-1234) or an XCCDF rule (accounts_tmout), found "CVE"`},
		{"waiver for a short CVE", waiversYAML, "CVE-2026-1234", "CVE-2026-123", `small/waivers.yaml:3:10: waivers.id: expected a vulnerability (CVE-2026-1234) or an XCCDF rule (accounts_tmout), found "CVE-2026-123" (a CVE has a year and at least four digits: CVE-2026-0123)`},
		{"waiver for a CVE before there were any", waiversYAML, "CVE-2026-1234", "CVE-0026-1234", `(the first CVEs are of 1999)`},
		{"waiver for a small CVE", waiversYAML, "CVE-2026-1234", "cve-2026-1234", `(write it in capitals: CVE-2026-1234)`},
		{"waiver for a rule's full name", waiversYAML, "CVE-2026-1234", "xccdf_org.ssgproject.content_rule_accounts_tmout", `(write the rule without the content's prefix: accounts_tmout)`},
		{"waiver of another image", waiversYAML, "image: small", "image: box", `small/waivers.yaml:1:8: image: expected small, the folder's name, found "box" (what is accepted for one image is not for another: write image: small when each waiver below is meant for it)`},
		{"waivers of no image", waiversYAML, "image: small\n", "", `small/waivers.yaml:1:1: key "image" is missing (add image: The image that they are for`},
		{"unknown justification", waiversYAML, "by: linux", "by: linux, justification: component_absent", `waivers.justification: expected component_not_present or`},
		{"justified rule", waiversYAML, "id: CVE-2026-1234", "justification: component_not_present, id: accounts_tmout", `small/waivers.yaml:3:21: waivers.justification: accounts_tmout is a rule, and only a vulnerability has one (remove it)`},
		{"empty waivers", waiversYAML, "waivers:\n", "waivers: ~\n#", `small/waivers.yaml:2:10: waivers: expected a list, found nothing`},
		// owners
		{"unknown team", ownersYAML, "small: linux", "small: linx", `owners.yaml:6:10: unknown team "linx", expected one of teams (did you mean linux?)`},
		{"two teams", ownersYAML, "small: linux", "small: [linux, other]", `owners.yaml:6:10: images.small: expected a team name: lower-case letters, digits and dashes, found a list`},
		{"nobody", ownersYAML, "  small: linux\n", "", `owners.yaml:1:1: nobody owns small, expected exactly one team (add under images: small: <team>)`},
		{"owner twice", ownersYAML, "  small: linux\n", "  small: linux\n  small: linux\n", `owners.yaml:7:3: key "small" is there twice`},
		{"owner of nothing", ownersYAML, "  small: linux\n", "  small: linux\n  smal: linux\n", `owners.yaml:7:3: no image "smal" in baseimages (did you mean small?)`},
		{"no contact", ownersYAML, `[linux@example.com, "https://example.com/linux"]`, "[]", `owners.yaml:3:15: teams.linux.contacts: expected at least one entry`},
		{"bad contact", ownersYAML, "linux@example.com", "http://example.com", `teams.linux.contacts: expected a mail address or an https URL, found "http://example.com"`},
		{"contact with a password", ownersYAML, "https://example.com/linux", "https://me:secret@example.com/", `teams.linux.contacts: expected a mail address or an https URL`},
		{"no code owner in CODEOWNERS", "CODEOWNERS", "/baseimages/small/ @example/linux\n", "", `CODEOWNERS: no line for /baseimages/small/ (add: /baseimages/small/ @example/linux)`},
		{"other code owner", "CODEOWNERS", "/baseimages/small/ @example/linux", "/baseimages/small/ @example/linux @else", `CODEOWNERS:3:1: @example/linux @else differs from baseimages/owners.yaml, which says @example/linux (write: /baseimages/small/ @example/linux)`},
		{"taken away", "CODEOWNERS", "# tools\n", "\n  /baseimages/ @example/all\n", `CODEOWNERS:5:3: "/baseimages/" takes /baseimages/small/ away from the owners in line 3 (move it up: the last line that matches counts)`},
		{"taken away by a glob", "CODEOWNERS", "# tools\n", "\n/baseimages/sm*/ @example/all\n", `"/baseimages/sm*/" takes /baseimages/small/ away`},
		{"taken away for one file", "CODEOWNERS", "# tools\n", "\nbaseimages/*/image.yaml @example/all\n", `"baseimages/*/image.yaml" takes /baseimages/small/ away`},
		{"code owner of nothing", "CODEOWNERS", "# tools\n", "\n/baseimages/smal/ @example/all\n", `CODEOWNERS:5:1: "/baseimages/smal/" names no image and no file in baseimages (did you mean small?)`},
		// profile
		{"profile under another name", profileYAML, "profile: cis_debian", "profile: cis_rhel", `cis_debian.yaml:1:10: profile: expected the file's own name, found cis_rhel`},
		{"control listed twice", profileYAML, `id: "1.2"`, `id: "1.1"`, `cis_debian.yaml:7:10: controls: 1.1 is there twice, first in line 6`},
		{"control without scope", profileYAML, "scope: [container, vm]", "scope: []", `cis_debian.yaml:6:46: controls.scope: expected at least one entry`},
		{"control in another scope", profileYAML, "scope: [container, vm]", "scope: [containers]", `controls.scope: expected container or vm, found "containers" (did you mean container?)`},
		{"unknown role", profileYAML, "roles: [common]", "roles: [comon]", `cis_debian.yaml:3:9: roles: no folder "comon" in ansible/roles (did you mean common?)`},
		{"role leaves the folder", profileYAML, "roles: [common]", "roles: [../../x]", `cis_debian.yaml:3:9: roles: expected the name of a folder in ansible/roles`},
		{"no playbook", profileYAML, "playbook: site.yml", "playbook: sites.yml", `cis_debian.yaml:4:11: playbook: there is no file ansible/sites.yml`},
		{"profile is no YAML", profileYAML, "roles: [common]", "roles: [common", `ansible/profiles/cis_debian.yaml:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			set, err := load(t, edited(t, c.file, c.old, c.new))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			if !errors.Is(err, factory.ErrInvalid) {
				t.Errorf("not of kind invalid: %v", err)
			}
			if _, err := set.Image("small"); err == nil && !slices.Contains(elsewhere, c.name) {
				t.Error("the image counts as in order")
			}
		})
	}
}

// What is wrong with the files themselves.
func TestRefuseFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, body, want string }{
		{"image missing", imageYAML, "", "small/image.yaml: the file is missing (make it)"},
		{"tests missing", testsYAML, "", "small/tests.yaml: the file is missing (make it)"},
		{"owners missing", ownersYAML, "", "owners.yaml: the file is missing (make it)"},
		{"CODEOWNERS missing", "CODEOWNERS", "", "CODEOWNERS: no line for /baseimages/box/"},
		{"misspelt file", "baseimages/small/test.yaml", "x", "small/test.yaml: unknown file, expected one of image.yaml, tests.yaml, waivers.yaml, lock.json, README.md (did you mean tests.yaml?)"},
		{"file among the images", "baseimages/owner.yaml", "x", "baseimages/owner.yaml: unknown file, expected an image's folder or one of owners.yaml, policy.yaml, schema.json, README.md, shared, packs, keys, dependents.yaml (did you mean owners.yaml?)"},
		{"bad image name", "baseimages/Small_2/image.yaml", "x", `baseimages/Small_2: expected an image name: lower-case letters, digits, single dots and dashes, found "Small_2" (rename the folder)`},
		{"shared file of another kind", "baseimages/shared/notes.txt", "x", "baseimages/shared/notes.txt: expected a file <name>.yaml"},
		{"empty image", imageYAML, "# nothing\n", `small/image.yaml:1:1: key "kind" is missing`},
		{"image is a link", imageYAML, "-> ../box/image.yaml", "small/image.yaml: is a symbolic link, expected a file or a folder (put a copy there)"},
		{"link leaves the repository", waiversYAML, "-> /etc/passwd", "small/waivers.yaml: is a symbolic link"},
		{"folder is a link", "baseimages/other", "-> small", "baseimages/other: is a symbolic link"},
		{"shared is a link", sharedYAML, "-> ../small/image.yaml", "shared/debian.yaml: expected a file <name>.yaml"},
		{"image is a folder", imageYAML + "/x", "y", "small/image.yaml: is a folder, expected a file"},
		{"owners is a link", ownersYAML, "-> x", "owners.yaml: is a symbolic link"},
		{"CODEOWNERS is a folder", "CODEOWNERS/x", "y", "CODEOWNERS: is a folder, expected a file"},
		{"role is a file", "ansible/roles/common", "y", "roles: ansible/roles/common is a file, expected a folder"},
		{"role is a link", "ansible/roles/common", "-> /etc", "ansible/roles/common: is a symbolic link"},
		{"not text", imageYAML, "\xff\xfe", "small/image.yaml:1:1: not UTF-8 text"},
		{"control character", imageYAML, "kind: base\nsummary: \x1b[2J\n", "small/image.yaml:2: control character 0x1b, expected text (remove it)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := fixture()
			for name := range files { // what becomes a folder, or stops being one
				if strings.HasPrefix(name, c.file+"/") || strings.HasPrefix(c.file, name+"/") {
					delete(files, name)
				}
			}
			if files[c.file] = c.body; c.body == "" {
				delete(files, c.file)
			}
			_, err := load(t, files)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// Tools leave files behind; they are no part of a definition.
func TestLeftoversAreIgnored(t *testing.T) {
	t.Parallel()
	files := fixture()
	for _, name := range []string{"baseimages/.DS_Store", "baseimages/small/.image.yaml.swp", "baseimages/small/image.yaml~", "ansible/roles/common/library/__pycache__/x.pyc"} {
		files[name] = "x"
	}
	set, err := load(t, files)
	if err != nil || len(set.Images) != 2 {
		t.Fatal(err)
	}
}

// Fed on purpose to make a reader expand, recurse or copy without end.
func TestRefuseBombs(t *testing.T) {
	t.Parallel()
	var laughs, keys strings.Builder
	laughs.WriteString("a0: &a0 [lol]\n")
	for i := range 9 {
		fmt.Fprintf(&laughs, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i, i)
	}
	for i := range 7000 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	indented := func(n int) (s string) {
		for i := range n {
			s += strings.Repeat(" ", i) + "a:\n"
		}
		return s
	}
	for name, c := range map[string]struct{ body, want string }{
		"billion laughs": {laughs.String(), "small/image.yaml:1:5: anchors, aliases and merge keys are not allowed"},
		"merge key":      {"a: {<<: b}\n", "anchors, aliases and merge keys are not allowed"},
		"brackets":       {strings.Repeat("[", 100000), "small/image.yaml:1:17: nested too deep"},
		"braces":         {strings.Repeat("{a: ", 50000), "nested too deep"},
		"dashes":         {strings.Repeat("- ", 100000), "small/image.yaml:1:17: nested too deep"},
		"indentation":    {indented(300), "small/image.yaml:129:129: indented by 128 columns, expected at most 128"},
		"keys":           {keys.String(), "more than 6000 keys or 8192 list entries in one file"},
		"entries":        {"a:\n" + strings.Repeat("- a\n", 20000), "more than 6000 keys or 8192 list entries in one file"},
		"flow entries":   {"a: [" + strings.Repeat("a,", 20000) + "]", "more than 6000 keys or 8192 list entries in one file"},
		"question marks": {strings.Repeat("? ", 1000), "tags, directives and ? keys are not allowed"},
		"100 MB":         {"", "small/image.yaml: 104857600 bytes, expected at most 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			files := fixture()
			files[imageYAML] = c.body
			dir := write(t, files)
			if c.body == "" { // a hole of 100 MB
				if err := os.Truncate(dir+"/"+imageYAML, 100<<20); err != nil {
					t.Fatal(err)
				}
			}
			_, err := definition.Load(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %.300v\nwant %s", err, c.want)
			}
		})
	}
}
