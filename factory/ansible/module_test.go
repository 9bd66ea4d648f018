package ansible_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// root is a small root filesystem, as the archive's packages would leave it.
var root = map[string]string{
	"etc/os-release":             "ID=debian\nVERSION_ID=\"12\"\n",
	"etc/passwd":                 "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534::/bin:/bin/sync\napp:x:1000:1000::/home/app:/usr/sbin/nologin\n",
	"etc/group":                  "root:x:0:\nadm:x:4:\nshadow:x:42:\nnogroup:x:65534:\napp:x:1000:\n",
	"etc/shadow":                 "root:*:20000:0:99999:7:::\nsync:*:20000::::::\napp:!:20000::::::\n",
	"etc/gshadow":                "root:*::\n",
	"etc/shells":                 "/bin/sh\n/bin/bash\n",
	"etc/login.defs":             "# PASS_MAX_DAYS is for people\nPASS_MAX_DAYS\t99999\nUMASK 022\nUMASK 000\n#ENCRYPT_METHOD DES\n# end\n",
	"etc/flags.conf":             "# enforce\n",
	"etc/ssh/sshd_config":        "# top\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nMatch User x\n  UsePAM no\n",
	"etc/pam.d/common-password":  "password\trequisite\tpam_pwquality.so retry=3\npassword\t[success=1 default=ignore]\tpam_unix.so nullok obscure yescrypt\n",
	"etc/pam.d/su":               "auth       sufficient pam_rootok.so\n# auth       required   pam_wheel.so\n@include common-auth\n",
	"etc/cron.deny":              "bob\n",
	"var/log/faillog":            "",
	"var/log/deep/app.log":       "x",
	"var/lib/dpkg/status":        "Package: libpam-runtime\nStatus: install ok installed\n\nPackage: gone\nStatus: deinstall ok config-files\n",
	"usr/share/pam-configs/unix": "Name: Unix\n",
}

const controls = `[
 {"control": "1", "reason": "r", "needs": ["/etc/login.defs"], "ensure": [{"setting": {"path": "/etc/login.defs", "key": "PASS_MAX_DAYS", "value": "365"}}, {"setting": {"path": "/etc/login.defs", "key": "UMASK", "value": "027"}}, {"setting": {"path": "/etc/login.defs", "key": "ENCRYPT_METHOD", "value": "YESCRYPT"}}]},
 {"control": "2", "reason": "r", "ensure": [{"setting": {"path": "/etc/flags.conf", "key": "enforce"}}, {"setting": {"path": "/etc/new.d/x.conf", "key": "a.b", "value": "1", "sep": " = ", "create": true}}]},
 {"control": "3", "reason": "r", "ensure": [{"setting": {"path": "/etc/ssh/sshd_config", "key": "UsePAM", "value": "yes", "before": "Include"}}, {"setting": {"path": "/etc/ssh/sshd_config", "key": "MaxAuthTries", "value": "4", "before": "Include"}}]},
 {"control": "4", "reason": "r", "ensure": [{"pam_option": {"path": "/etc/pam.d/common-password", "module": "pam_unix.so", "lacks": "nullok"}}, {"pam_option": {"path": "/etc/pam.d/common-password", "module": "pam_pwquality.so", "has": "retry=4"}}]},
 {"control": "5", "reason": "r", "ensure": [{"empty_group": {"name": "sugroup", "gid": "65533"}}, {"line": {"path": "/etc/pam.d/su", "line": "auth required pam_wheel.so use_uid group=sugroup", "match": "auth\\s+required\\s+pam_wheel", "after": "auth\\s+sufficient"}}]},
 {"control": "6", "reason": "r", "ensure": [{"absent": "/etc/cron.deny"}, {"content": {"path": "/etc/cron.allow", "text": "root", "mode": "0640"}}, {"exists": {"path": "/var/log/dpkg.log", "group": "adm"}}, {"mode": {"paths": ["/var/log/*"], "at_most": "0640", "recurse": true}}]},
 {"control": "7", "reason": "r", "ensure": [{"dictionary": {"path": "/var/cache/cracklib/cracklib_dict", "words": "sunshine sunset password"}}, {"setting": {"path": "/etc/vm.conf", "key": "a", "value": "1", "create": true}, "scope": "vm"}]},
 {"control": "8", "reason": "r", "ensure": [{"installed": "libpam-runtime"}, {"verified": "unique_uid"}, {"verified": "system_accounts_locked"}, {"verified": "world_writable"}, {"verified": "root_path"}, {"verified": "homes"}]},
 {"control": "9", "reason": "r", "ensure": [{"setting": {"path": "/etc/vm.conf", "key": "a", "value": "1", "create": true}}]},
 {"control": "10", "reason": "r", "needs": ["/etc/sudoers"], "ensure": [{"absent": "/etc/sudoers"}]},
 {"control": "11", "reason": "r", "ensure": [{"absent": "/etc/passwd"}]},
 {"control": "12", "reason": "r", "ensure": [{"absent": "/etc/passwd"}]},
 {"control": "13", "reason": "r", "ensure": [{"absent": "/etc/passwd"}]}
]`

const listed = `[{"id": "1", "level": 1, "scope": ["container"]}, {"id": "2", "level": 1, "scope": ["container", "vm"]},
 {"id": "3", "level": 1, "scope": ["container"]}, {"id": "4", "level": 1, "scope": ["container"]},
 {"id": "5", "level": 1, "scope": ["container"]}, {"id": "6", "level": 1, "scope": ["container"]},
 {"id": "7", "level": 1, "scope": ["container", "vm"]}, {"id": "8", "level": 1, "scope": ["container"]},
 {"id": "9", "level": 1, "scope": ["vm"]}, {"id": "10", "level": 1, "scope": ["container"]},
 {"id": "11", "level": 2, "scope": ["container"]}, {"id": "12", "level": 1, "scope": ["container"]},
 {"id": "13", "level": 1, "scope": ["container"], "releases": ["13"]}]`

type moduleResult struct {
	Changed  bool   `json:"changed"`
	Failed   bool   `json:"failed"`
	Msg      string `json:"msg"`
	Outcomes []struct {
		Control string   `json:"control"`
		Outcome string   `json:"outcome"`
		Reason  string   `json:"reason"`
		Changes []string `json:"changes"`
	} `json:"outcomes"`
}

func (r moduleResult) outcome(id string) string {
	for _, o := range r.Outcomes {
		if o.Control == id {
			return strings.TrimSuffix(o.Outcome+": "+o.Reason, ": ")
		}
	}
	return "none"
}

// target makes the small root filesystem.
func target(t *testing.T) string {
	t.Helper()
	return plant(t, root)
}

// plant makes a root filesystem of these files.
func plant(t *testing.T, root map[string]string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to change the root folder")
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	dir := t.TempDir()
	for name, text := range root {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"root": 0o700, "tmp": 0o777 | os.ModeSticky, "home": 0o755} {
		if err := os.Mkdir(filepath.Join(dir, name), mode.Perm()); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// module runs the module with Debian's states in dir.
func module(t *testing.T, dir, items string, check bool) moduleResult {
	t.Helper()
	return play(t, dir, "cis_debian", map[string]any{"controls": json.RawMessage(items), "catalogue": json.RawMessage(listed),
		"scope": "container", "level": 1, "exempt": []string{"12"}, "check": check})
}

// play runs the module with parameters in dir, with the states of a role.
func play(t *testing.T, dir, family string, with map[string]any) moduleResult {
	t.Helper()
	roles, err := filepath.Abs(filepath.Join(repository, "ansible/roles"))
	if err != nil {
		t.Fatal(err)
	}
	params, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-s", "testdata/module.py", roles, family, dir)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(params), &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var r moduleResult
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return r
}

// files reads everything below dir: mode, and text for what is a file.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		all[rel] = info.Mode().String()
		if d.Type().IsRegular() {
			b, err := os.ReadFile(name)
			all[rel] += " " + string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestModule(t *testing.T) {
	t.Parallel()
	dir := target(t)
	before := files(t, dir)
	want := map[string]string{
		"1": "applied", "2": "applied", "3": "applied", "4": "applied", "5": "applied", "6": "applied", "7": "applied", "8": "already",
		"9": "not applicable: has no effect in a container", "10": "not applicable: /etc/sudoers is not there",
		"11": "not applicable: belongs to level 2, this image asks for level 1",
		"12": "exempt: exempted by the image's definition", "13": "not applicable: is for release 13 only",
	}

	for _, check := range []bool{true, false} {
		r := module(t, dir, controls, check)
		if r.Failed || !r.Changed {
			t.Fatalf("check %v: failed %v (%s), changed %v", check, r.Failed, r.Msg, r.Changed)
		}
		for id, outcome := range want {
			if got := r.outcome(id); got != outcome {
				t.Errorf("check %v: control %s is %q, not %q", check, id, got, outcome)
			}
		}
		if check && !reflect.DeepEqual(files(t, dir), before) {
			t.Fatal("a check changed something")
		}
	}

	after := files(t, dir)
	for name, text := range map[string]string{
		"etc/login.defs":            "-rw-r--r-- # PASS_MAX_DAYS is for people\nPASS_MAX_DAYS 365\nUMASK 027\n#ENCRYPT_METHOD DES\nENCRYPT_METHOD YESCRYPT\n# end\n",
		"etc/flags.conf":            "-rw-r--r-- # enforce\nenforce\n",
		"etc/new.d/x.conf":          "-rw-r--r-- a.b = 1\n",
		"etc/ssh/sshd_config":       "-rw-r--r-- # top\nMaxAuthTries 4\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nMatch User x\n  UsePAM no\n",
		"etc/pam.d/common-password": "-rw-r--r-- password\trequisite\tpam_pwquality.so retry=4\npassword\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n",
		"etc/pam.d/su":              "-rw-r--r-- auth       sufficient pam_rootok.so\nauth required pam_wheel.so use_uid group=sugroup\n# auth       required   pam_wheel.so\n@include common-auth\n",
		"etc/cron.allow":            "-rw-r----- root\n",
		"etc/cron.deny":             "",
		"etc/vm.conf":               "",
		"var/log/dpkg.log":          "-rw-r----- ",
		"var/log/deep/app.log":      "-rw-r----- x",
		// "password", then what "sunset" and "sunshine" share with the word before: nothing, and "suns".
		"var/cache/cracklib/cracklib_dict.pwd": "-rw-r--r-- password\x00\x00sunset\x00\x04hine\x00",
	} {
		if after[name] != text {
			t.Errorf("%s is\n%s\nnot\n%s", name, after[name], text)
		}
	}
	if !strings.HasSuffix(after["etc/group"], "sugroup:x:65533:\n") || !strings.HasSuffix(after["etc/gshadow"], "sugroup:!::\n") {
		t.Errorf("group %q, gshadow %q", after["etc/group"], after["etc/gshadow"])
	}

	if r := module(t, dir, controls, false); r.Failed || r.Changed || !reflect.DeepEqual(files(t, dir), after) {
		t.Errorf("second run: failed %v (%s), changed %v", r.Failed, r.Msg, r.Changed)
	}
}

func TestModuleFindsWhatItMayNotMend(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ file, text, ensure, says string }{
		"second root":       {"etc/passwd", "toor:x:0:0::/root:/bin/sh\n", `{"verified": "only_root_is_zero"}`, "toor has user number 0"},
		"double number":     {"etc/passwd", "twin:x:1000:1000::/:/bin/false\n", `{"verified": "unique_uid"}`, "user number 1000 is there 2 times"},
		"shell":             {"etc/passwd", "svc:x:10:1000::/:/bin/sh\n", `{"verified": "system_accounts_locked"}`, "system account svc has the shell /bin/sh"},
		"unknown group":     {"etc/passwd", "lost:x:1001:77::/:/bin/false\n", `{"verified": "groups_exist"}`, "lost has the unknown group 77"},
		"open password":     {"etc/passwd", "open:$6$x:1002:1000::/:/bin/false\n", `{"verified": "all_shadowed"}`, "open has a password in /etc/passwd"},
		"empty password":    {"etc/shadow", "guest::20000::::::\n", `{"verified": "no_empty_passwords"}`, "guest has an empty password"},
		"future":            {"etc/shadow", "marty:$y$x:99999::::::\n", `{"verified": "changed_in_past"}`, "marty changed the password in the future"},
		"shadow member":     {"etc/group", "shadow:x:42:bob\n", `{"verified": "shadow_group_empty"}`, "group shadow has the members bob"},
		"path":              {"etc/login.defs", "ENV_SUPATH PATH=/tmp:.\n", `{"verified": "root_path"}`, "/tmp in root's PATH can be written by others; root's PATH holds the current folder"},
		"home":              {"etc/passwd", "ann:x:1003:1000::/home/ann:/bin/bash\n", `{"verified": "homes"}`, "ann has no home folder /home/ann"},
		"netrc":             {"root/.netrc", "machine x\n", `{"verified": "dot_files"}`, "/root/.netrc exists"},
		"package":           {"etc/x", "", `{"installed": "gone"}`, "package gone is not installed"},
		"no such line":      {"etc/x", "a\n", `{"matches": {"path": "/etc/x", "regex": "^b"}}`, "/etc/x: no line matches ^b"},
		"forbidden line":    {"etc/x", "x NOPASSWD\n", `{"lacks": {"paths": ["/etc/x"], "regex": "NOPASSWD"}}`, "'x NOPASSWD' is not allowed"},
		"number is taken":   {"etc/group", "other:x:65533:\n", `{"empty_group": {"name": "sugroup", "gid": "65533"}}`, "group number 65533 belongs to other"},
		"module not in use": {"etc/x", "", `{"pam_option": {"path": "/etc/x", "module": "pam_y.so", "has": "z"}}`, "did not hold: /etc/x: pam_y.so is not in use"},
		"no file":           {"etc/x", "", `{"setting": {"path": "/etc/gone", "key": "a"}}, {"absent": "/etc"}`, "Error"},
		"unknown state":     {"etc/x", "", `{"magic": {}}`, "unknown state magic"},
		"pam-auth-update":   {"etc/x", "", `{"pam_profiles": {"cis-x": "Name: x"}}`, "FileNotFoundError"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := target(t)
			f, err := os.OpenFile(filepath.Join(dir, c.file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(c.text); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			items := `[{"control": "1", "reason": "r", "ensure": [` + c.ensure + `]}, {"control": "2", "reason": "r", "ensure": [{"absent": "/etc/nothing"}]}]`
			r := module(t, dir, items, false)
			if !r.Failed || !strings.Contains(r.Msg, c.says) || !strings.Contains(r.outcome("1"), "failed: ") {
				t.Errorf("failed %v: %q", r.Failed, r.Msg)
			}
			if r.outcome("2") != "already" {
				t.Errorf("its neighbour is %q", r.outcome("2"))
			}
		})
	}
}

func TestModuleRefusesUnknownControls(t *testing.T) {
	t.Parallel()
	r := module(t, target(t), `[{"control": "99", "reason": "r", "ensure": [{"absent": "/etc/passwd"}]}]`, false)
	if !r.Failed || r.Msg != "not in the catalogue: 99" {
		t.Errorf("%v %q", r.Failed, r.Msg)
	}
}
