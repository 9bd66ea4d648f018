package buildkit

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

func lockedRPM(t testing.TB, release string) factory.Locked {
	t.Helper()
	l := locked("")
	l.Job.Image.Name, l.Job.Image.Distro = "amazonlinux-"+release, factory.Distro{Family: factory.Amazon, Release: release}
	l.Job.Image.Keys = []factory.Key{keyOf(t, "pinned.asc", pinnedKey())}
	l.Job.Image.Packages.OmitPaths = []string{"/usr/share/man/*", "/usr/share/doc/*"}
	l.Lock.Timestamp = made
	l.Lock.Platforms[0].Packages[0].Version = "1:5.2-3"
	return l
}

// A root of RPMs is one step without network, on checksummed sources.
func TestRPMBuildIsHermetic(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	for release, form := range map[string]string{"2": "berkeley", "2023": "sqlite"} {
		l := lockedRPM(t, release)
		st, err := c.rootfs(l, l.Lock.Platforms[0])
		if err != nil {
			t.Fatal(err)
		}
		all := ops(t, st)
		found := execs(all)
		if len(found) != 1 || found[0].Network != pb.NetMode_NONE || !slices.Contains(found[0].Meta.Env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(made.Unix(), 10)) || slices.Contains(found[0].Meta.Args, "-c") {
			t.Fatalf("steps %v", found)
		}
		if m := found[0].Mounts; !slices.ContainsFunc(m, func(m *pb.Mount) bool { return m.Dest == "/.rpms/0000.rpm" && m.Readonly }) {
			t.Errorf("mounts %v", m)
		}
		var plan installPlan
		for _, op := range all {
			for _, a := range op.GetFile().GetActions() {
				if f := a.GetMkfile(); f != nil && strings.HasSuffix(f.Path, "/plan.json") {
					if err := json.Unmarshal(f.Data, &plan); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if plan.Database != form || plan.Arch != "x86_64" || plan.Timestamp != made.Unix() || !slices.Equal(plan.Omit, []string{"/usr/share/doc", "/usr/share/man"}) ||
			plan.Users[0] != (installUser{"nonroot", 1, 2, "/h", "/s"}) || plan.Packages[0] != (installPackage{"bash", "1:5.2-3", "amd64", "/.rpms/0000.rpm"}) || len(plan.Keys) != 1 {
			t.Errorf("plan %+v", plan)
		}
	}
}

func TestRPMPlanRefuses(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	for name, x := range map[string]struct {
		change func(img *factory.Image)
		kind   error
		says   string
	}{
		"no key":         {func(i *factory.Image) { i.Keys = nil }, factory.ErrInvalid, "pins no key"},
		"another key":    {func(i *factory.Image) { i.Keys[0].Armored = keyOf(t, "", otherKey()).Armored }, factory.ErrUnverified, "key pinned.asc: the definition pins "},
		"two keys":       {func(i *factory.Image) { i.Keys[0].Armored = keyOf(t, "", pinnedKey(), otherKey()).Armored }, factory.ErrUnverified, " and "},
		"no OpenPGP":     {func(i *factory.Image) { i.Keys[0].Armored = "x" }, factory.ErrUnverified, "not exactly one armored key"},
		"two blocks":     {func(i *factory.Image) { i.Keys[0].Armored += "\n" + keyOf(t, "", otherKey()).Armored }, factory.ErrUnverified, "not exactly one armored key"},
		"part of a path": {func(i *factory.Image) { i.Packages.OmitPaths = []string{"/usr/share/man/x*"} }, factory.ErrInvalid, "rpm cannot leave out"},
		"a macro":        {func(i *factory.Image) { i.Packages.OmitPaths = []string{"/usr/%{x}/*"} }, factory.ErrInvalid, "rpm cannot leave out"},
		"two folders":    {func(i *factory.Image) { i.Packages.OmitPaths = []string{"/usr:/etc/*"} }, factory.ErrInvalid, "rpm cannot leave out"},
		"relative":       {func(i *factory.Image) { i.Packages.OmitPaths = []string{"usr/*"} }, factory.ErrInvalid, "rpm cannot leave out"},
		"unknown family": {func(i *factory.Image) { i.Distro.Family = "other" }, factory.ErrInvalid, `family "other" is not known here`},
	} {
		l := lockedRPM(t, "2023")
		x.change(&l.Job.Image)
		if _, err := c.rootfs(l, l.Lock.Platforms[0]); !errors.Is(err, x.kind) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnverifiedPackagesHaveTheirOwnKind(t *testing.T) {
	t.Parallel()
	err := stepFailed(&stepError{name: installPrefix + "rhel-9 linux/amd64", exit: exitUnverified, tail: "installing a\nbash-5.x86_64: it is not signed"})
	if !errors.Is(err, factory.ErrUnverified) || !strings.Contains(err.Error(), "install rhel-9 linux/amd64: bash-5.x86_64: it is not signed (") {
		t.Error(err)
	}
	err = stepFailed(&stepError{name: installPrefix + "rhel-9 linux/amd64", exit: exitUnfit, tail: "the lock is not complete: a needs b"})
	if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "the lock is not complete: a needs b (make a new lock") {
		t.Error(err)
	}
	if err := stepFailed(&stepError{name: "configure debian-12", exit: exitUnverified}); errors.Is(err, factory.ErrUnverified) {
		t.Error(err)
	}
}

func TestRecipesAreOfFormats(t *testing.T) {
	t.Parallel()
	if d, r := Recipe(factory.Deb), Recipe(factory.RPM); d == r || r != factory.DigestOf(slices.Concat(installScript, rootScript, databaseScript)) {
		t.Error(d, r)
	}
}

// needsBerkeley skips where the host has no Berkeley DB.
func needsBerkeley(t *testing.T) {
	t.Helper()
	for _, program := range []string{"db5.3_load", "db5.3_dump", "db5.3_verify"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
}

// An old rpm's database holds the same packages, and is the same each time, with the indexes that the root's own rpm makes.
func TestBerkeleyDatabase(t *testing.T) {
	t.Parallel()
	needsBerkeley(t)
	dir := t.TempDir()
	index := filepath.Join(dir, "Name")
	long := strings.Repeat("ab", 3000) // lies on pages of its own
	dump := "VERSION=3\nformat=bytevalue\ntype=btree\ndb_pagesize=4096\nHEADER=END\n"
	for i := range 300 {
		dump += " " + strings.Repeat(strconv.FormatInt(int64(1000+i), 10), 20) + "\n " + map[bool]string{true: long, false: "0100"}[i%50 == 7] + "\n"
	}
	load := exec.Command("db5.3_load", index)
	load.Stdin = strings.NewReader(dump + "DATA=END\n")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[52:72]) // the file's id
	rpmdb := small{name: "rpm", key: pinnedKey(), requires: []string{"shell"}, files: map[string]string{
		"/usr/share/Name": string(b), "/usr/bin/rpmdb": "#!/bin/sh\ntest \"$1\" = --rebuilddb && cat /usr/share/Name >/var/lib/rpm/Name && touch /var/lib/rpm/__db.001 &&\n" +
			"dd if=/dev/urandom of=/var/lib/rpm/Name bs=1 seek=52 count=20 conv=notrunc 2>/dev/null && echo rebuilt\n"}}
	plan := installPlan{Database: "berkeley", Packages: []installPackage{rpmdb.pack(t, dir), shell(t, dir), tool(t, dir)}}
	var roots []string
	for range 2 { // the same packages: a signature says when it was made
		root, said, exit := installAll(t, plan, keyOf(t, "pinned.asc", pinnedKey()))
		if exit != 0 || !strings.Contains(said, "rebuilt\n") {
			t.Fatalf("exit %d: %s", exit, said)
		}
		roots = append(roots, filepath.Join(root, "var/lib/rpm"))
	}
	left, err := filepath.Glob(filepath.Join(roots[0], "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("the folder holds %q %v", left, err)
	}
	for _, name := range []string{"Packages", "Name"} {
		if a, b := read(t, roots[0], name), read(t, roots[1], name); a != b {
			t.Errorf("%s differs from one time to the next", name)
		}
		if out, err := exec.Command("db5.3_verify", filepath.Join(roots[0], name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
		dump, err := exec.Command("db5.3_dump", filepath.Join(roots[0], name)).Output()
		if n := strings.Count(string(dump), "\n "); err != nil || n != map[string]int{"Packages": 8, "Name": 600}[name] {
			t.Errorf("%s: %d lines %v", name, n, err)
		}
	}
	out, err := exec.Command("rpm", "--define", "_db_backend bdb_ro", "--dbpath", roots[0], "-qa", "--qf", "%{nevra}\n").Output()
	all := strings.Fields(string(out))
	slices.Sort(all)
	if want := []string{"rpm-1:2-3.x86_64", "shell-1:2-3.x86_64", "tool-1:2-3.x86_64"}; err != nil || !slices.Equal(all, want) {
		t.Errorf("rpm reads %q %v", all, err)
	}
}

func TestBerkeleyDatabaseFaults(t *testing.T) {
	t.Parallel()
	needsBerkeley(t)
	for name, c := range map[string]struct {
		files map[string]string
		post  string
		says  string
		exit  int
	}{
		"no rpm":         {map[string]string{"/usr/bin/x": ""}, "", "the root has no rpm: its database has no indexes", 0},
		"it fails":       {map[string]string{"/usr/bin/rpm": "#!/bin/sh\necho because\nexit 2\n"}, "", "because\n/usr/bin/rpm --rebuilddb: exit 2", 1},
		"not a database": {map[string]string{"/usr/bin/rpm": "#!/bin/sh\necho x >/var/lib/rpm/Name\n"}, "", "/var/lib/rpm/Name: ", 1},
		"it leads out":   {nil, "mv /var/lib/rpm /var/lib/r && ln -s /tmp /var/lib/rpm", "leads out of the root, to /tmp", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plan := installPlan{Database: "berkeley", Packages: []installPackage{small{name: "rpm", key: pinnedKey(), requires: []string{"shell"}, files: c.files, post: c.post}.pack(t, dir), shell(t, dir)}}
			_, said, exit := installAll(t, plan, keyOf(t, "pinned.asc", pinnedKey()))
			if exit != c.exit || !strings.Contains(said, c.says) || strings.Contains(said, "Traceback") {
				t.Errorf("exit %d: %s", exit, said)
			}
		})
	}
}
