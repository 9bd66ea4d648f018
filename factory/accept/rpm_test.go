package accept

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fixtures are real databases of public images, which a module that reads them ships.
var fixtures = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/knqyf263/go-rpmdb").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "pkg", "testdata"), err
})

func fixture(t testing.TB, file string) []byte {
	t.Helper()
	dir, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// readRPM runs the script on a folder with this machine's python3 and Berkeley tools.
func readRPM(t *testing.T, dir string) readFact {
	t.Helper()
	for _, program := range []string{"python3", "db5.3_dump", "db5.3_verify"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	ask, err := json.Marshal(rpmAsk{Folder: dir, Verify: []string{"db5.3_verify", "-q"}, Dump: []string{"db5.3_dump"}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-B", "-c", "import json, sys, rpmdb; print(json.dumps(rpmdb.fact(json.loads(sys.argv[1]))))", string(ask))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var fact readFact
	if err != nil || json.Unmarshal(out, &fact) != nil {
		t.Fatalf("%v: %s\n%s", err, out, stderr.Bytes())
	}
	return fact
}

// folder writes files into a folder as /var/lib/rpm.
func folderOf(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRealDatabases(t *testing.T) {
	t.Parallel()
	for from, tc := range map[string]struct {
		count int // records, with the keys
		some  []string
	}{
		"libuuid/Packages":             {1, []string{"libuuid"}},
		"ubi8-s390x/Packages":          {183, []string{"bash", "redhat-release", "gpg-pubkey", "python3-dnf"}},
		"cbl-mariner-2.0/rpmdb.sqlite": {129, []string{"bash", "mariner-release"}},
		"fedora35/rpmdb.sqlite":        {138, []string{"bash", "fedora-release-container", "dnf"}},
	} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			dir := folderOf(t, map[string][]byte{filepath.Base(from): fixture(t, from)})
			fact := readRPM(t, dir)
			states, err := rpmNames(fact.Data)
			if fact.Error != "" || err != nil {
				t.Fatal(fact.Error, err)
			}
			if count := bytes.Count(fact.Data, []byte("\n")) + 1; count != tc.count {
				t.Errorf("%d records, want %d", count, tc.count)
			}
			for _, name := range tc.some {
				if installed := states[name] == "installed"; installed == (name == "gpg-pubkey") {
					t.Errorf("%s: installed is %v", name, installed)
				}
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("reading left %v, %v", entries, err)
			}
		})
	}
}

// without returns the data with one page of it zeroed.
func without(data []byte, page, size int) []byte {
	data = bytes.Clone(data)
	clear(data[page*size : (page+1)*size])
	return data
}

func TestFaultyDatabases(t *testing.T) {
	t.Parallel()
	berkeley, lite := fixture(t, "libuuid/Packages"), fixture(t, "cbl-mariner-2.0/rpmdb.sqlite")
	large := berkeleyOf(t, 300, header)
	for name, tc := range map[string]struct {
		files map[string][]byte
		says  string
	}{
		"none":                   {nil, "holds no package database"},
		"another form":           {map[string][]byte{"Packages.db": berkeley}, "holds no package database"},
		"two":                    {map[string][]byte{"Packages": berkeley, "rpmdb.sqlite": lite}, "holds both rpmdb.sqlite and Packages"},
		"empty":                  {map[string][]byte{"Packages": nil}, "Packages: exit 1: "},
		"not one":                {map[string][]byte{"Packages": []byte(strings.Repeat("Packages", 1000))}, "Packages: exit 1: "},
		"cut off":                {map[string][]byte{"Packages": berkeley[:4096*5]}, "Packages: exit 1: "},
		"a bucket lost":          {map[string][]byte{"Packages": without(large, 2, 4096)}, "Packages: "},
		"content lost":           {map[string][]byte{"Packages": without(berkeley, len(berkeley)/4096-1, 4096)}, "Packages: exit 1: "},
		"no header":              {map[string][]byte{"Packages": berkeleyOf(t, 2, "00000001000000")}, "Packages: a header is damaged"},
		"sqlite empty":           {map[string][]byte{"rpmdb.sqlite": nil}, "rpmdb.sqlite: no such table: Packages"},
		"sqlite not one":         {map[string][]byte{"rpmdb.sqlite": []byte(strings.Repeat("rpmdb", 1000))}, "rpmdb.sqlite: file is not a database"},
		"sqlite cut off":         {map[string][]byte{"rpmdb.sqlite": lite[:len(lite)/2]}, "rpmdb.sqlite: "},
		"sqlite page lost":       {map[string][]byte{"rpmdb.sqlite": without(lite, 1, 4096)}, "rpmdb.sqlite: "},
		"sqlite with a journal":  {map[string][]byte{"rpmdb.sqlite": lite, "rpmdb.sqlite-wal": {1}}, "rpmdb.sqlite: rpmdb.sqlite-wal holds changes that are not in it"},
		"sqlite, no header":      {map[string][]byte{"rpmdb.sqlite": liteOf(t, "CREATE TABLE Packages (hnum INTEGER, blob BLOB); INSERT INTO Packages VALUES (1, x'00000001000000')")}, "rpmdb.sqlite: a header is damaged"},
		"sqlite, a number":       {map[string][]byte{"rpmdb.sqlite": liteOf(t, "CREATE TABLE Packages (hnum INTEGER, blob BLOB); INSERT INTO Packages VALUES (1, 99999999999)")}, "rpmdb.sqlite: a header is damaged"},
		"sqlite, a header short": {map[string][]byte{"rpmdb.sqlite": liteOf(t, "CREATE TABLE Packages (hnum INTEGER, blob BLOB); INSERT INTO Packages VALUES (1, x'ffffffffffffffff')")}, "rpmdb.sqlite: a header is damaged"},
		"sqlite, no name":        {map[string][]byte{"rpmdb.sqlite": liteOf(t, "CREATE TABLE Packages (hnum INTEGER, blob BLOB); INSERT INTO Packages VALUES (1, x'0000000000000000')")}, "rpmdb.sqlite: a package has no name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fact := readRPM(t, folderOf(t, tc.files))
			if !strings.HasPrefix(fact.Error, tc.says) || fact.Error == tc.says && strings.HasSuffix(tc.says, ": ") || fact.Data != nil {
				t.Errorf("got %q, %d bytes", fact.Error, len(fact.Data))
			}
		})
	}
}

func TestOddFiles(t *testing.T) {
	t.Parallel()
	huge := folderOf(t, map[string][]byte{"Packages": nil})
	if err := os.Truncate(filepath.Join(huge, "Packages"), 300<<20); err != nil {
		t.Fatal(err)
	}
	link := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(link, "rpmdb.sqlite")); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{
		huge: "Packages: larger than 256 MiB", link: "rpmdb.sqlite: not a regular file", "/none": "holds no package database",
	} {
		if fact := readRPM(t, dir); fact.Error != says {
			t.Errorf("got %q, want %q", fact.Error, says)
		}
	}
}

// header is that of a package whose name is all there is.
const header = "0000000100000002" + "000003e8000000060000000000000001" + "6100"

// berkeleyOf makes a Berkeley database of packages.
func berkeleyOf(t *testing.T, records int, header string) []byte {
	t.Helper()
	var dump strings.Builder
	dump.WriteString("VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n")
	for i := range records {
		fmt.Fprintf(&dump, " %08x\n %s\n", i, header)
	}
	dump.WriteString("DATA=END\n")
	file := filepath.Join(t.TempDir(), "Packages")
	cmd := exec.Command("db5.3_load", file)
	cmd.Stdin = strings.NewReader(dump.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("db5.3_load: %v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// liteOf makes a database with this machine's Python.
func liteOf(t *testing.T, statements string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db")
	cmd := exec.Command("python3", "-c", "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.executescript(sys.argv[2]); d.close()", file, statements)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("python3: %v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mutate gives the script 3,000 headers with random damage: each is a name or a ValueError.
const mutate = `
import base64, random, sys, rpmdb
header = base64.b64decode(sys.stdin.read())
assert rpmdb.name(header) == b"libuuid", rpmdb.name(header)
random.seed(1)
names = 0
for _ in range(3000):
    damaged = bytearray(header[:random.choice([len(header), random.randrange(len(header))])])
    for _ in range(random.randrange(20)):
        if damaged:
            damaged[random.randrange(min(len(damaged), 400))] = random.randrange(256)
    try:
        names += isinstance(rpmdb.name(bytes(damaged)), bytes)
    except ValueError:
        pass
print(names)
`

func TestDamagedHeaders(t *testing.T) {
	t.Parallel()
	dump, err := exec.Command("db5.3_dump", filepath.Join(folderOf(t, map[string][]byte{"Packages": fixture(t, "libuuid/Packages")}), "Packages")).Output()
	if err != nil {
		t.Skip("needs db5.3_dump")
	}
	longest := ""
	for line := range strings.Lines(string(dump)) {
		if line = strings.TrimSpace(line); len(line) > len(longest) {
			longest = line
		}
	}
	header, err := hex.DecodeString(longest)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-B", "-c", mutate)
	cmd.Stdin = strings.NewReader(base64.StdEncoding.EncodeToString(header))
	out, err := cmd.CombinedOutput()
	if n := strings.TrimSpace(string(out)); err != nil || n == "0" || n == "3000" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRPMNames(t *testing.T) {
	t.Parallel()
	if states, err := rpmNames([]byte("bash\ngpg-pubkey\nkernel\nkernel")); err != nil || len(states) != 2 || states["kernel"] != "installed" {
		t.Error(states, err)
	}
	for _, empty := range []string{"", "\n", "gpg-pubkey"} {
		if _, err := rpmNames([]byte(empty)); err == nil || err.Error() != "/var/lib/rpm: lists no package" {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

// FuzzRPMNames: whatever the script's list is, either there are packages, all of them installed and none of them a key, or an error.
func FuzzRPMNames(f *testing.F) {
	f.Add([]byte("bash\nglibc"))
	f.Add([]byte("gpg-pubkey\n\n\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		states, err := rpmNames(data)
		if (len(states) == 0) != (err != nil) || states[""] != "" || states["gpg-pubkey"] != "" {
			t.Errorf("%q, %v", states, err)
		}
	})
}
