package scanner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// TestMain is a scanner instead of tests when the client starts this program, and a process to be killed when a test does.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		serve(filepath.Dir(os.Args[0]))
		syscall.Exit(0)
	case len(os.Args) > 2 && os.Args[1] == "install":
		installAndDie(os.Args[2:])
	case len(os.Args) > 2 && os.Args[1] == "use":
		useForEver(os.Args[2])
	}
	os.Exit(m.Run())
}

// fake is a scanner in small: its databases and SBOMs are lists, but it really maps the first and really matches the second. A
// package whose name begins with ! makes it do what a package never should.
type fake struct {
	dir     string // of the program
	mu      sync.Mutex
	out     *os.File
	db      []byte // mapped
	replied chan struct{}
	once    sync.Once
}

type fakeMeta struct {
	Kind    factory.DatabaseKind
	Updated time.Time
	Length  int // of the file; what lies beyond its end is a SIGBUS, as it is with the real one
}

type fakeSBOM struct {
	Name     string
	Packages []fakePackage
}

type fakePackage struct{ Name, Version string }

type fakeAdvisory struct{ Package, Vulnerability, Fixed, Severity string }

func serve(dir string) {
	f := &fake{dir: dir, out: os.Stdout, replied: make(chan struct{})}
	mode, _ := os.ReadFile(filepath.Join(dir, "mode"))
	switch string(mode) {
	case "exit":
		fmt.Fprint(os.Stderr, "no, \x1b[31mnot today\x1b[0m")
		syscall.Exit(3)
	case "hang":
		select {}
	case "garbage":
		fmt.Println("Usage: factory-scanner [flags]")
		select {}
	case "deaf":
		os.Stdin.Close()
		select {}
	}
	var wg sync.WaitGroup
	for {
		var r Request
		if err := ReadFrame(os.Stdin, &r); err != nil {
			if string(mode) == "lingers" {
				select {}
			}
			wg.Wait()
			return
		}
		wg.Go(func() { f.reply(f.handle(r, string(mode)), r.ID) })
	}
}

func (f *fake) reply(r Reply, id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.ID = id
	_ = WriteFrame(f.out, r)
}

func (f *fake) handle(r Request, mode string) Reply {
	switch r.Op {
	case Hello:
		switch mode {
		case "old":
			return Reply{Hello: &Greeting{Name: "fake", Version: "0.1", Protocol: 7}}
		case "rude":
			return Reply{Error: &Fault{Kind: "unavailable", What: "no disk space", Hint: "make some"}}
		}
		return Reply{Hello: &Greeting{Name: "fake", Version: "1.2", Protocol: ProtocolVersion, Schema: 2, Databases: []string{"registry.example.com/db:2"}}}
	case Open:
		if mode == "dies of open" {
			syscall.Exit(4)
		}
		db, answer := load(r.Dir)
		f.mu.Lock()
		f.db = db
		f.mu.Unlock()
		return answer
	case Check:
		db, answer := load(r.Dir)
		if answer.Error == nil {
			match(db, nil)
		}
		return answer
	case Build:
		return build(r)
	case Know:
		if r.Vulnerability == "!rude" {
			return Reply{Error: &Fault{Kind: "invalid", What: "this scanner cannot know"}}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		known := bytes.Contains(f.db, []byte(" "+r.Vulnerability+" "))
		return Reply{Known: &known}
	case Image:
		b, err := os.ReadFile(filepath.Join(r.Layout, r.Digest.Hex()))
		if err != nil {
			return Reply{Error: &Fault{Kind: "not found", What: err.Error(), Hint: "build it"}}
		}
		return f.scan(b, true)
	default:
		return f.scan(r.SBOM, false)
	}
}

// load maps a database.
func load(dir string) ([]byte, Reply) {
	b, err := os.ReadFile(filepath.Join(dir, metadataFile))
	var meta fakeMeta
	if err != nil || json.Unmarshal(b, &meta) != nil {
		return nil, Reply{Error: &Fault{Kind: "unverified", What: "metadata.json is \x07unreadable"}}
	}
	file, err := os.Open(filepath.Join(dir, databaseFile))
	if err != nil {
		return nil, Reply{Error: &Fault{Kind: "not found", What: err.Error()}}
	}
	defer file.Close()
	if meta.Length == 0 {
		return nil, Reply{Error: &Fault{Kind: "invalid", What: "this database is of schema 1, and this scanner reads 2", Hint: "use another"}}
	}
	db, err := syscall.Mmap(int(file.Fd()), 0, meta.Length, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, Reply{Error: &Fault{What: err.Error()}}
	}
	return db, Reply{Database: &factory.Database{Kind: meta.Kind, Schema: 2, Updated: meta.Updated, Advisories: bytes.Count(db[:min(len(db), 10)], []byte("\n"))}}
}

func build(r Request) Reply {
	var list []fakeAdvisory
	for _, a := range r.Advisories {
		for _, v := range a.List {
			if v.Source == "!exit" {
				syscall.Exit(5)
			}
			if v.Source == "" {
				return Reply{Error: &Fault{Kind: "invalid", What: "an advisory about nothing"}}
			}
			list = append(list, fakeAdvisory{Package: v.Source, Vulnerability: v.Vulnerability, Fixed: v.Fixed})
		}
	}
	writeDatabase(r.Dir, factory.ArchiveDatabase, r.Advisories[0].Updated, list)
	return Reply{Database: &factory.Database{Kind: factory.ArchiveDatabase, Schema: 2, Updated: r.Advisories[0].Updated, Advisories: len(list)}}
}

// writeDatabase writes lines, padded to some pages.
func writeDatabase(dir string, kind factory.DatabaseKind, updated time.Time, list []fakeAdvisory) {
	var b bytes.Buffer
	for _, a := range list {
		fmt.Fprintf(&b, "%s %s %s %s\n", a.Package, a.Vulnerability, a.Fixed, a.Severity)
	}
	b.WriteString(strings.Repeat("\n", 3*os.Getpagesize()))
	meta, err := json.Marshal(fakeMeta{Kind: kind, Updated: updated, Length: b.Len()})
	for name, data := range map[string][]byte{databaseFile: b.Bytes(), metadataFile: meta} {
		if werr := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil || werr != nil {
			panic(fmt.Sprint(err, werr))
		}
	}
}

// match reads all of the database.
func match(db []byte, packages []fakePackage) (found []factory.Finding) {
	for line := range strings.Lines(string(db)) {
		a := strings.Fields(line)
		if len(a) < 3 {
			continue
		}
		for _, p := range packages {
			if p.Name == a[0] && p.Version < a[2] {
				severity, _ := factory.ParseSeverity(strings.Join(a[3:], ""))
				found = append(found, factory.Finding{Vulnerability: a[1], Package: p.Name, Version: p.Version, Fixed: a[2], Severity: severity})
			}
		}
	}
	return found
}

func (f *fake) scan(sbom []byte, image bool) Reply {
	var s fakeSBOM
	if err := json.Unmarshal(sbom, &s); err != nil {
		return Reply{Error: &Fault{Kind: "invalid", What: "this is no SBOM"}}
	}
	for _, p := range s.Packages {
		if answer := f.misbehave(p.Name, p.Version); answer != nil {
			return *answer
		}
	}
	f.mu.Lock()
	db := f.db
	f.mu.Unlock()
	if db == nil {
		return Reply{Error: &Fault{Kind: "unverified", What: "the database is damaged"}}
	}
	r := &Result{Distro: "debian 12", Findings: match(db, s.Packages)}
	for _, p := range s.Packages {
		if p.Version == "unknown" {
			r.NotLookedAt = append(r.NotLookedAt, p.Name)
		} else {
			r.Packages++
		}
	}
	if image {
		r.CycloneDX, r.SPDX = sbom, append([]byte("spdx of "), sbom...)
	}
	if !slices.ContainsFunc(s.Packages, func(p fakePackage) bool { return p.Name == "!after" }) {
		f.once.Do(func() { close(f.replied) })
	}
	return Reply{Result: r}
}

// misbehave does what the name of a package says.
func (f *fake) misbehave(name, arg string) *Reply {
	switch name {
	case "!once": // what the argument says, but only the first time
		if marker, err := os.OpenFile(filepath.Join(f.dir, "done"+arg), os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			marker.Close()
			return f.misbehave(arg, "")
		}
	case "!kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "!panic":
		panic("index out of range")
	case "!exit":
		fmt.Fprintln(os.Stderr, "a line\nthe disk is on fire")
		syscall.Exit(7)
	case "!hang":
		select {}
	case "!garbage":
		f.mu.Lock()
		_, _ = io.WriteString(f.out, "\x00\x00\x00\x05hello")
		select {}
	case "!huge":
		f.mu.Lock()
		_, _ = io.WriteString(f.out, "\xff\xff\xff\xff")
		select {}
	case "!half":
		f.mu.Lock()
		_, _ = io.WriteString(f.out, "\x00\x00\x01\x00{")
		syscall.Exit(0)
	case "!wrong-id":
		f.reply(Reply{Result: &Result{}}, 4711)
		select {}
	case "!twice":
		return &Reply{Error: &Fault{Kind: "invalid", What: "asked for it"}}
	case "!empty":
		return &Reply{}
	case "!nothing":
		return &Reply{Result: &Result{CycloneDX: []byte("{}"), SPDX: []byte("{}")}}
	case "!anonymous":
		return &Reply{Result: &Result{Distro: "debian 12", Packages: 1, Findings: []factory.Finding{{Severity: factory.Low}}, CycloneDX: []byte("{}"), SPDX: []byte("{}")}}
	case "!fault":
		return &Reply{Error: &Fault{Kind: arg, What: "cannot\x00 read\nit", Hint: "try something else"}}
	case "!poison": // takes its own fault for the database's, until that is opened anew
		f.mu.Lock()
		f.db = nil
		f.mu.Unlock()
	case "!after":
		<-f.replied
	case "!child": // holds the pipes when its parent is gone, in a session of its own
		child := exec.Command("/proc/self/exe", "serve")
		child.Stdin, child.Stdout, child.Stderr = nil, os.Stdout, os.Stderr
		child.Args[0] = filepath.Join(f.dir, "child", "x")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: arg == "escapes"}
		if err := child.Start(); err != nil {
			panic(err)
		}
		syscall.Exit(9)
	case "!environment":
		interfaces, _ := os.ReadFile("/proc/net/dev")
		wd, _ := os.Getwd()
		_ = os.WriteFile(filepath.Join(os.Getenv("TMPDIR"), "left"), nil, 0o600)
		return &Reply{Error: &Fault{Kind: "invalid", What: fmt.Sprintf("env %q dir %s interfaces %d", os.Environ(), wd, bytes.Count(interfaces, []byte(":")))}}
	}
	return nil
}

// program returns a scanner of this kind, in a folder of its own.
func program(t testing.TB, mode string) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, filepath.Join(dir, "factory-scanner")))
	must(t, os.WriteFile(filepath.Join(dir, "mode"), []byte(mode), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "child"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "child", "mode"), []byte("hang"), 0o600))
	return filepath.Join(dir, "factory-scanner")
}

var (
	today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	amd64 = factory.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = factory.Platform{OS: "linux", Architecture: "arm64"}
)

// database writes a good one.
func testDatabase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeDatabase(dir, factory.TrivyDatabase, today, []fakeAdvisory{
		{"openssl", "CVE-2026-1", "3.0.2", "High"}, {"openssl", "CVE-2026-2", "3.0.1", "Low"}, {"zlib", "CVE-2026-3", "1.3", ""},
	})
	return dir
}

// watched collects events.
type watched struct {
	mu  sync.Mutex
	all []factory.Event
}

func (w *watched) add(e factory.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, e)
}

func (w *watched) text(kind factory.EventKind) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, e := range w.all {
		if e.Kind == kind {
			lines = append(lines, e.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// client returns a scanner with a good database open.
func client(t *testing.T) *Client {
	t.Helper()
	c := closing(t, &Client{Program: program(t, ""), Now: func() time.Time { return today }})
	_, err := c.Open(t.Context(), testDatabase(t), factory.Database{})
	must(t, err)
	return c
}

func closing(t *testing.T, c *Client) *Client {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func sbom(packages ...fakePackage) factory.Document {
	b, err := json.Marshal(fakeSBOM{Name: "debian-12", Packages: packages})
	if err != nil {
		panic(err)
	}
	return factory.NewDocument(factory.CycloneDX, "linux/amd64", amd64, CycloneDXType, b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
