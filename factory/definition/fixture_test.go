package definition_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixture is a small repository that is in order, by path.
func fixture() map[string]string {
	return map[string]string{
		"CODEOWNERS": "# who reviews what\n* @example/all\n/baseimages/small/ @example/linux\n/baseimages/box/ @example/linux # tools\n",
		"baseimages/owners.yaml": `teams:
  linux:
    contacts: [linux@example.com, "https://example.com/linux"]
    codeowners: ["@example/linux"]
images:
  small: linux
  box: linux
`,
		"baseimages/shared/debian.yaml": `image:
  archives:
    - {id: debian, suite: bookworm, components: [main]}
  keyring: debian-archive-keyring.gpg
  packages:
    essential: true
    include: [tzdata]
  config:
    env: {LANG: C.UTF-8, PATH: /usr/bin}
    cmd: [bash]
    labels: {org.example.shared: "yes"}
tests:
  nonRoot: true
  files:
    - {path: /etc/passwd, mode: "0644", owner: "root:root"}
`,
		"baseimages/small/image.yaml": `use: [debian]
kind: base
summary: A small image
distro: {family: debian, release: "12", codename: bookworm}
endOfLife: 2028-06-30
archives:
  - {id: debian, suite: bookworm, components: [main]}
  - {id: debian-security, suite: bookworm-security, components: [main]}
packages:
  include: [ca-certificates, tzdata]
  exclude: [mount]
  omitPaths: [/usr/share/doc/*]
  keepPaths: [/usr/share/doc/*/copyright]
platforms: [linux/arm64, linux/amd64]
users:
  - {name: nonroot, uid: 65532, gid: 65532, home: /home/nonroot, shell: /usr/sbin/nologin}
hardening:
  profile: cis_debian
  level: 1
  scope: container
  exempt:
    - {control: "1.1", reason: breaks the cache, until: 2026-12-31}
  vars:
    cis_days: 90
    cis_text: two
    cis_on: true
    cis_ratio: 0.5
    cis_list: [a, b]
config:
  user: "65532:65532"
  env:
    LANG: C
  cmd: [sh, -c, "echo a", -c]
  entrypoint: [/bin/sh]
  workdir: /home/nonroot
  stopSignal: SIGTERM
  labels:
    org.example.own: small
`,
		"baseimages/small/tests.yaml": `use: [debian]
commands:
  - name: prints its release
    run: [cat, /etc/debian_version]
    user: "0"
    exit: 0
    stdout: '^12\.'
    stderr: '^$'
    timeout: 10
files:
  - {path: /usr/bin/sudo, absent: true}
packages:
  present: [bash]
  absent: [sudo]
users:
  - {name: root, uid: 0, gid: 0, home: /root, shell: /bin/bash}
setuid: [/usr/bin/su]
`,
		"baseimages/small/waivers.yaml": `image: small
waivers:
  - {id: CVE-2026-1234, packages: [openssl], reason: not reachable, by: linux, until: 2026-12-31}
`,
		"baseimages/policy.yaml": `dev:
  pack: quick
  unknown: high
  compliance:
    - {view: container, level: 2, maxFail: 1, minApplicable: 100}
    - {view: container, level: 1, maxFail: 0, minApplicable: 90}
  tests: true
  committed: false
  database: {kinds: [trivy, archive], maxAge: 48h}
  endOfLife: warn
staging:
  like: dev
  committed: true
prod:
  like: staging
  clock: published
  unknown: never
  compliance: []
  database: {kinds: [trivy], maxAge: 1d, archiveMaxAge: 7d}
  endOfLife: block
`,
		"baseimages/packs/quick.yaml": `pack: quick
source: {title: A Standard, date: 2026-01-02, url: "https://example.com/standard"}
clock: fix-available
deadlines: {critical: 3, high: 7, low: 180}
`,
		"baseimages/box/image.yaml": `use: [debian]
kind: toolbox
summary: Tools
distro: {family: debian, release: "12"}
platforms: [linux/amd64]
`,
		"ansible/site.yml":    "- hosts: all\n",
		"ansible/ansible.cfg": "[defaults]\n",
		"ansible/profiles/cis_debian.yaml": `profile: cis_debian
benchmark: A Benchmark v1
roles: [common]
playbook: site.yml
controls:
  - {id: "1.1", title: One, level: 1, scope: [container, vm], reason: because}
  - {id: "1.2", title: Two, level: 2, scope: [vm], releases: ["12"], reason: because}
  - {id: "1.3", title: Three, level: 1, scope: [container], releases: ["13"], reason: because}
`,
		"ansible/roles/common/tasks/main.yml":    "- debug:\n",
		"ansible/roles/common/defaults/main.yml": "cis_days: 365\ncis_text: one\ncis_on: false\ncis_ratio: 1.0\ncis_list: []\nhardening_level: 1\n",
	}
}

// write puts files below a new folder and returns it. A text that starts with "-> " makes a symbolic link.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(body, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(body), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// edited is the fixture with one text of one file replaced; an old text that is not there fails the test.
func edited(t *testing.T, file, old, new string) map[string]string {
	t.Helper()
	files := fixture()
	if !strings.Contains(files[file], old) {
		t.Fatalf("the fixture's %s does not contain %q", file, old)
	}
	files[file] = strings.Replace(files[file], old, new, 1)
	return files
}
