package buildkit

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// What a child's accounts meet in its parent's root: those that are there as they are asked for stay, what differs is refused.
func TestAccountsOfAChild(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		user, want string // account, and what is called or said
		exit       int
	}{
		"new":                      {"app\t700\t700\t/app\t/bin/sh", "groupadd --gid 700 app\nuseradd --uid 700 --gid 700 --home-dir /app --shell /bin/sh --no-create-home --no-log-init app\ninstall -d -m 0750 -o 700 -g 700 /app", 0},
		"new, in its group":        {"backup\t34\t34\t/b\t/bin/sh", "useradd --uid 34 ", 0},
		"the parent's":             {"nonroot\t65532\t65532\t/home/nonroot\t/bin/bash", "", 0},
		"the parent's, hardened":   {"daemon\t1\t1\t/usr/sbin\t/bin/sh", "", 0},
		"another uid":              {"nonroot\t700\t65532\t/home/nonroot\t/bin/bash", "users: nonroot is there already, with uid 65532, gid 65532, home /home/nonroot, shell /bin/bash: leave it out, or choose another name", exitAccount},
		"another gid":              {"nonroot\t65532\t700\t/home/nonroot\t/bin/bash", "users: nonroot is there already", exitAccount},
		"another home":             {"daemon\t1\t1\t/app\t/bin/sh", "users: daemon is there already, with uid 1, gid 1, home /usr/sbin", exitAccount},
		"another shell":            {"nonroot\t65532\t65532\t/home/nonroot\t/bin/sh", "users: nonroot is there already", exitAccount},
		"the gid of another group": {"app\t700\t34\t/app\t/bin/sh", "users: gid 34 of app is that of the group backup: choose another one", exitAccount},
		"a group of that name":     {"backup\t700\t700\t/b\t/bin/sh", "users: a group backup is there already, with gid 34: say gid: 34, or choose another name", exitAccount},
	} {
		dir := t.TempDir()
		put := func(name, text string, mode os.FileMode) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
				t.Fatal(err)
			}
		}
		put("users", c.user+"\n", 0o600)
		put("passwd", "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nnonroot:x:65532:65532::/home/nonroot:/bin/bash\n", 0o600)
		put("group", "daemon:x:1:\nbackup:x:34:\nnonroot:x:65532:\n", 0o600)
		put("getent", "#!/bin/sh\ngrep -E \"^$2:|^[^:]*:x:$2:\" "+dir+"/$1\n", 0o700)
		put("dpkg", "#!/bin/sh\n", 0o700)
		for _, tool := range []string{"groupadd", "useradd", "install"} {
			put(tool, "#!/bin/sh\necho "+tool+" \"$@\"\n", 0o700)
		}
		script := strings.NewReplacer("/.factory/users", dir+"/users", "/run/", dir+"/run-", "/.debs", dir+"/debs").Replace(string(extendScript))
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		out, _ := cmd.CombinedOutput()
		if exit := cmd.ProcessState.ExitCode(); exit != c.exit || !strings.HasPrefix(string(out), c.want) || c.want == "" && len(out) > 0 {
			t.Errorf("%s: exit %d, %s", name, exit, out)
		}
	}
	err := stepFailed(&stepError{name: installPrefix + "app linux/amd64", exit: exitAccount, tail: "Setting up a\nusers: nonroot is there already"})
	if !errors.Is(err, factory.ErrInvalid) || err.Error() != "install app linux/amd64: users: nonroot is there already (see users: in its image.yaml)" {
		t.Error(err)
	}
}
