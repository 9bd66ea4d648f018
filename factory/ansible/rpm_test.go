package ansible_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// stack is a PAM stack as the package pam ships it.
const stack = `#%PAM-1.0
# This file is auto-generated.
auth        required      pam_env.so
auth        sufficient    pam_unix.so try_first_pass nullok
auth        required      pam_deny.so

account     required      pam_unix.so

password    requisite     pam_pwquality.so try_first_pass local_users_only retry=3
password    sufficient    pam_unix.so try_first_pass use_authtok nullok sha512 shadow
password    required      pam_deny.so

session     required      pam_unix.so
`

// rpmRoot is a small root filesystem of an RPM distribution.
var rpmRoot = map[string]string{
	"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/group": "root:x:0:\n", "etc/shadow": "root:*:20000::::::\n", "etc/gshadow": "root:::\n",
	"etc/shells": "/bin/sh\n/bin/bash\n", "etc/pam.d/system-auth": stack, "etc/pam.d/password-auth": stack, "etc/pam.d/postlogin": "session optional pam_lastlog.so\n",
	"etc/bashrc":                           "# umask 000 is bad\n    [ `umask` -eq 0 ] && umask 022\n",
	"etc/profile":                          "if [ $UID -gt 199 ]; then\n    umask 002 # like a group\nelse\n    umask 0077\nfi\n",
	"etc/empty.sh":                         "# nothing\n",
	"etc/ssh/sshd_config.d/50-redhat.conf": "UsePAM yes\nMaxAuthTries 6\nX11Forwarding yes\n",
	"etc/ssh/sshd_config":                  "# top\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
	"etc/login.defs":                       "PASS_MAX_DAYS\t99999\n",
	"etc/crypto-policies/config":           "# The policy.\nDEFAULT\n",
	"usr/share/crypto-policies/DEFAULT/opensshserver.txt": "Ciphers aes256-ctr,aes128-cbc,3des-cbc\nMACs hmac-sha2-256,umac-64@openssh.com\nKexAlgorithms curve25519-sha256\n",
	"etc/crypto-policies/back-ends/libssh.config":         "Ciphers aes256-ctr\n",
}

// rpm runs the module with the RPM families' states and one control for each list of states.
func rpm(t *testing.T, dir, release string, check bool, ensure ...string) moduleResult {
	t.Helper()
	var items, listed []map[string]any
	for i, e := range ensure {
		id := "1." + string(rune('1'+i))
		items = append(items, map[string]any{"control": id, "reason": "r", "ensure": json.RawMessage("[" + e + "]")})
		listed = append(listed, map[string]any{"id": id, "level": 1, "scope": []string{"container"}})
	}
	return play(t, dir, "rpm", map[string]any{"controls": items, "catalogue": listed, "scope": "container", "level": 1,
		"release": release, "exempt": []string{}, "check": check})
}

var rpmControls = []string{
	`{"pam_module": "pam_faillock"}, {"pam_module": "pam_pwquality"}, {"pam_module": "pam_pwhistory"}`,
	`{"stack_option": {"module": "pam_unix.so", "lacks": "nullok"}}, {"stack_option": {"module": "pam_faillock.so", "type": "auth", "has": "deny=3"}, "releases": ["2"]}`,
	`{"authselect": "custom/cis"}`,
	`{"umask": {"path": "/etc/bashrc", "value": "027"}}, {"umask": {"path": "/etc/profile", "value": "027"}}, {"umask": {"path": "/etc/empty.sh", "value": "027", "add": true}}, {"umask": {"path": "/etc/none.sh", "value": "027", "add": true}, "when": ["/etc/none*"]}`,
	`{"kernel_module": "usb-storage"}, {"sysctl": {"net.ipv4.ip_forward": "0", "kernel.randomize_va_space": "2"}}`,
	`{"sshd": {"UsePAM": "yes", "MaxAuthTries": "4"}}, {"settings": {"path": "/etc/login.defs", "values": {"PASS_MAX_DAYS": "365"}}}`,
	`{"crypto_module": {"name": "NO-SSHCBC", "text": "cipher@SSH = -*-CBC", "forbids": ["*-cbc"]}}`,
	`{"crypto_module": {"name": "NO-UMAC", "forbids": ["umac-*"]}}, {"absent": "/etc/none", "scope": "vm"}`,
}

const hardStack = `auth        required      pam_env.so
auth required pam_faillock.so preauth silent
auth sufficient pam_unix.so try_first_pass
auth required pam_faillock.so authfail
auth        required      pam_deny.so

account required pam_faillock.so
account     required      pam_unix.so

password    requisite     pam_pwquality.so try_first_pass local_users_only retry=3
password requisite pam_pwhistory.so use_authtok
password sufficient pam_unix.so try_first_pass use_authtok sha512 shadow
password    required      pam_deny.so

session     required      pam_unix.so
`

func TestRPMModule(t *testing.T) {
	t.Parallel()
	dir := plant(t, rpmRoot)
	backend := filepath.Join(dir, "etc/crypto-policies/back-ends/opensshserver.config")
	if err := os.Symlink("/usr/share/crypto-policies/DEFAULT/opensshserver.txt", backend); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	for _, check := range []bool{true, false} {
		r := rpm(t, dir, "9", check, rpmControls...)
		if r.Failed || !r.Changed || len(r.Outcomes) != len(rpmControls) {
			t.Fatalf("check %v: %+v", check, r)
		}
		for _, o := range r.Outcomes {
			if o.Outcome != "applied" {
				t.Errorf("check %v: %s is %s: %s", check, o.Control, o.Outcome, o.Reason)
			}
		}
		if check && !reflect.DeepEqual(files(t, dir), before) {
			t.Fatal("a check changed something")
		}
	}
	after := files(t, dir)
	for name, want := range map[string]string{
		"etc/bashrc":                                          "# umask 000 is bad\n    [ `umask` -eq 0 ] && umask 027\n",
		"etc/profile":                                         "if [ $UID -gt 199 ]; then\n    umask 027 # like a group\nelse\n    umask 0077\nfi\n",
		"etc/empty.sh":                                        "# nothing\numask 027\n",
		"etc/login.defs":                                      "PASS_MAX_DAYS 365\n",
		"etc/authselect/custom/cis/system-auth":               hardStack,
		"etc/authselect/authselect.conf":                      "custom/cis\n",
		"etc/authselect/custom/cis/fingerprint-auth":          "auth required pam_deny.so\naccount required pam_deny.so\npassword required pam_deny.so\nsession required pam_deny.so\n",
		"etc/modprobe.d/60-cis.conf":                          "install usb-storage /bin/false\nblacklist usb-storage\n",
		"etc/sysctl.d/60-cis.conf":                            "net.ipv4.ip_forward = 0\nkernel.randomize_va_space = 2\n",
		"etc/ssh/sshd_config":                                 "# top\nMaxAuthTries 4\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
		"etc/ssh/sshd_config.d/50-redhat.conf":                "UsePAM yes\nX11Forwarding yes\n",
		"etc/crypto-policies/config":                          "DEFAULT:NO-SSHCBC:NO-UMAC\n",
		"etc/crypto-policies/policies/modules/NO-SSHCBC.pmod": "cipher@SSH = -*-CBC\n",
		"etc/crypto-policies/back-ends/opensshserver.config":  "Ciphers aes256-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-sha256\n",
	} {
		if after[name] != "-rw-r--r-- "+want {
			t.Errorf("%s is\n%s\nnot\n%s", name, after[name], want)
		}
	}
	if text := after["etc/authselect/password-auth"]; !strings.HasPrefix(text, "-rw-r--r-- # Generated by authselect\n") || !strings.HasSuffix(text, "\n\n"+hardStack) {
		t.Errorf("password-auth is\n%s", text)
	}
	if to, err := os.Readlink(filepath.Join(dir, "etc/pam.d/system-auth")); err != nil || to != "/etc/authselect/system-auth" {
		t.Errorf("system-auth is a link to %q: %v", to, err)
	}
	if untouched := "usr/share/crypto-policies/DEFAULT/opensshserver.txt"; after[untouched] != before[untouched] || after["etc/crypto-policies/policies/modules/NO-UMAC.pmod"] != "" {
		t.Error("the package's own list was changed, or a module of nothing was written")
	}
	if r := rpm(t, dir, "9", false, rpmControls...); r.Failed || r.Changed || !reflect.DeepEqual(files(t, dir), after) {
		t.Errorf("second run: %+v", r)
	}
}

// sssd is the beginning of the stack that authselect makes for it, misplaced one that a person made.
const sssd = `auth        required      pam_env.so
auth        required      pam_faildelay.so delay=2000000
auth        [default=1 ignore=ignore success=ok] pam_usertype.so isregular
auth        sufficient    pam_unix.so nullok
auth        sufficient    pam_sss.so forward_pass
auth        required      pam_deny.so
account     required      pam_unix.so
password    sufficient    pam_unix.so sha512
`

const misplaced = `auth required pam_faillock.so authfail deny=9
auth [default=die] pam_faillock.so preauth
auth        sufficient    pam_unix.so
auth        required      pam_deny.so
account     required      pam_unix.so
account     required      pam_faillock.so
password    sufficient    pam_unix.so sha512
password    requisite     pam_pwhistory.so
`

// Stacks as others leave them: lines in the wrong place are moved, jumps over lines still land where they did.
func TestStacks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ have, want string }{
		"authselect's sssd": {sssd, `auth        required      pam_env.so
auth        required      pam_faildelay.so delay=2000000
auth required pam_faillock.so preauth silent deny=3
auth        [default=1 ignore=ignore success=ok] pam_usertype.so isregular
auth        sufficient    pam_unix.so nullok
auth        sufficient    pam_sss.so forward_pass
auth required pam_faillock.so authfail deny=3
auth        required      pam_deny.so
account required pam_faillock.so
account     required      pam_unix.so
password requisite pam_pwquality.so try_first_pass local_users_only retry=3
password requisite pam_pwhistory.so use_authtok
password    sufficient    pam_unix.so sha512
`},
		"misplaced": {misplaced, `auth required pam_faillock.so preauth silent deny=3
auth        sufficient    pam_unix.so
auth required pam_faillock.so authfail deny=3
auth        required      pam_deny.so
account required pam_faillock.so
account     required      pam_unix.so
password requisite pam_pwquality.so try_first_pass local_users_only retry=3
password requisite pam_pwhistory.so use_authtok
password    sufficient    pam_unix.so sha512
`},
		"bare": {"session required pam_unix.so\n", `session required pam_unix.so
auth required pam_faillock.so preauth silent deny=3
auth required pam_faillock.so authfail deny=3
account required pam_faillock.so
password requisite pam_pwquality.so try_first_pass local_users_only retry=3
password requisite pam_pwhistory.so use_authtok
`},
	} {
		root := maps.Clone(rpmRoot)
		root["etc/pam.d/system-auth"], root["etc/pam.d/password-auth"] = c.have, c.have
		dir := plant(t, root)
		modules := rpmControls[0]
		options := `{"stack_option": {"module": "pam_faillock.so", "type": "auth", "has": "deny=3"}, "releases": ["2"]}`
		for range 2 {
			if r := rpm(t, dir, "2", false, modules, options); r.Failed {
				t.Fatalf("%s: %s", name, r.Msg)
			}
		}
		for _, file := range []string{"etc/pam.d/system-auth", "etc/pam.d/password-auth"} {
			if got := files(t, dir)[file]; got != "-rw-r--r-- "+c.want {
				t.Errorf("%s: %s is\n%s", name, file, got)
			}
		}
	}
}

func TestRPMModuleFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ release, ensure, says string }{
		"unknown state":        {"9", `{"magic": {}}`, "unknown state magic"},
		"nothing for it":       {"9", `{"absent": "/etc/x", "releases": ["2"]}`, "nothing to ensure for release 9 in the scope container"},
		"no such module":       {"9", `{"pam_module": "pam_magic"}`, "KeyError"},
		"module not in use":    {"9", `{"stack_option": {"module": "pam_magic.so", "has": "x"}}`, "pam_magic.so is not in use"},
		"nothing may mend it":  {"9", `{"verified": "unique_uid"}, {"matches": {"path": "/etc/login.defs", "regex": "^x"}}`, "no line matches ^x"},
		"policy is not taken":  {"9", `{"crypto_module": {"name": "NO-X"}}`, "update-crypto-policies: bad module"},
		"a second run differs": {"9", `{"authselect": "custom/cis"}, {"pam_module": "pam_faillock"}`, "did not hold: /etc/authselect/custom/cis/password-auth has another text"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := plant(t, rpmRoot)
			if strings.Contains(c.ensure, "NO-X") {
				tool := filepath.Join(dir, "usr/bin/update-crypto-policies")
				interpreter(t, dir, tool)
			}
			r := rpm(t, dir, c.release, false, c.ensure, `{"absent": "/etc/nothing"}`)
			if !r.Failed || !strings.Contains(r.Msg, c.says) || r.outcome("1.2") != "already" {
				t.Errorf("failed %v: %s; its neighbour is %q", r.Failed, r.Msg, r.outcome("1.2"))
			}
		})
	}
	unknown := play(t, plant(t, rpmRoot), "rpm", map[string]any{"controls": []any{map[string]any{"control": "9.9"}}, "catalogue": []any{}, "scope": "vm", "level": 1, "release": "9"})
	if !unknown.Failed || unknown.Msg != "not in the catalogue: 9.9" {
		t.Errorf("%+v", unknown)
	}
}

// interpreter puts a tool into dir that fails, and the shell that runs it.
func interpreter(t *testing.T, dir, tool string) {
	t.Helper()
	box, err := os.ReadFile("/usr/bin/busybox")
	if err != nil {
		t.Skip("needs a static busybox")
	}
	for path, b := range map[string][]byte{filepath.Join(dir, "usr/bin/sh"): box, tool: []byte("#!/usr/bin/sh\necho bad module\nexit 1\n"), filepath.Join(dir, "dev/null"): nil} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// A control that is not in play is never looked at, whatever it would do.
func TestRPMControlsNotInPlay(t *testing.T) {
	t.Parallel()
	none := []any{map[string]any{"absent": "/etc/passwd"}}
	r := play(t, plant(t, rpmRoot), "rpm", map[string]any{
		"controls": []any{
			map[string]any{"control": "1", "ensure": none}, map[string]any{"control": "2", "ensure": none}, map[string]any{"control": "3", "ensure": none},
			map[string]any{"control": "4", "ensure": none, "needs": []string{"/etc/sudoers"}}, map[string]any{"control": "5", "ensure": none},
		},
		"catalogue": []any{
			map[string]any{"id": "1", "level": 1, "scope": []string{"vm"}}, map[string]any{"id": "2", "level": 2, "scope": []string{"container"}},
			map[string]any{"id": "3", "level": 1, "scope": []string{"container"}, "releases": []string{"2"}},
			map[string]any{"id": "4", "level": 1, "scope": []string{"container"}}, map[string]any{"id": "5", "level": 1, "scope": []string{"container"}},
		},
		"scope": "container", "level": 1, "release": "2023", "exempt": []string{"5"}})
	for id, want := range map[string]string{"1": "not applicable: has no effect in a container", "2": "not applicable: belongs to level 2, this image asks for level 1",
		"3": "not applicable: is for release 2 only", "4": "not applicable: /etc/sudoers is not there", "5": "exempt: exempted by the image's definition"} {
		if got := r.outcome(id); got != want {
			t.Errorf("control %s: %q", id, got)
		}
	}
	if r.Failed || r.Changed {
		t.Errorf("%+v", r)
	}
}
