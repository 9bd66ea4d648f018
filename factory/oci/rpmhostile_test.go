package oci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestHostileDatabases(t *testing.T) {
	t.Parallel()
	good := entry("a 1-1 x86_64", algorithmSHA256, "/a=a", "/b=b")
	damage := func(b []byte, change func(b []byte)) []byte {
		b = slices.Clone(b)
		change(b)
		return b
	}
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
	}
	put16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], v) }
	}
	set := func(at int, v byte) func([]byte) { return func(b []byte) { b[at] = v } }
	bdb, ndb := berkeleyOf(binary.LittleEndian, good), ndbOf(good)
	value := int(binary.LittleEndian.Uint16(bdb[512+bdbPageHeader+6:])) + 512
	for name, b := range map[string][]byte{
		"empty": nil, "bdb: short": bdb[:511], "bdb: another kind": damage(bdb, put32(12, 0x053162)), "bdb: encrypted": damage(bdb, set(24, 1)), "bdb: page size": damage(bdb, put32(20, 100)),
		"bdb: odd items": damage(bdb, put16(512+20, 3)), "bdb: too many items": damage(bdb, put16(512+20, 512)), "bdb: item outside": damage(bdb, put16(512+bdbPageHeader, 600)),
		"bdb: item in the head": damage(bdb, put16(512+bdbPageHeader+2, 4)), "bdb: items cross": damage(bdb, put16(512+bdbPageHeader+6, 511)), "bdb: key of another type": damage(bdb, set(512+507, 9)),
		"bdb: value of another type": damage(bdb, set(value, 4)), "bdb: chain outside": damage(bdb, put32(value+4, 99)), "bdb: longer than the file": damage(bdb, put32(value+8, 1<<31)),
		"bdb: longer than its chain": damage(bdb, put32(value+8, 900)), "bdb: shorter": damage(bdb, put32(value+8, 9)), "bdb: chain to a bucket": damage(bdb, put32(value+4, 1)),
		"bdb: chain in a circle": damage(bdb, put32(1024+16, 2)), "bdb: empty page": damage(bdb, put16(1024+22, 0)), "bdb: overfull page": damage(bdb, put16(1024+22, 510)),
		"ndb: short": ndb[:20], "ndb: pages": damage(ndb, put32(12, 1<<31)), "ndb: slot": damage(ndb, set(48, 'x')), "ndb: outside": damage(ndb, put32(32+8, 1<<30)), "ndb: other package": damage(ndb, put32(4096+4, 7)),
		"ndb: mark": damage(ndb, set(4096, 'x')), "ndb: too long": damage(ndb, put32(4096+12, 1<<30)),
		"sqlite: short": sqliteMark, "sqlite: no table": sqliteOf(t, "CREATE TABLE x (y)"), "sqlite: a view": sqliteOf(t, "CREATE VIEW Packages AS SELECT 1 AS hnum, zeroblob(1000000000) AS blob"),
		"sqlite: computed": sqliteOf(t, "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob AS (zeroblob(1000000000)))"),
	} {
		if headers, err := headersOf(b); !errors.Is(err, errCorrupt) && !(name == "bdb: chain in a circle" && len(headers) == 1) {
			t.Errorf("%s: %d headers, %v", name, len(headers), err)
		}
	}
	if h, err := headersOf(berkeleyOf(binary.LittleEndian, []byte("tiny"))); err != nil || string(h[0]) != "tiny" {
		t.Errorf("a header in the page: %q %v", h, err)
	}
	c := collection{left: 1 << 40, headers: make([][]byte, maxPackages)}
	if err := c.add(nil); !errors.Is(err, errCorrupt) {
		t.Errorf("too many packages: %v", err)
	}
	// One header that many packages share is more than the file holds.
	shared := damage(ndb, func(b []byte) { copy(b[48:64], b[32:48]) })
	if _, err := headersOf(slices.Concat(shared[:4096], shared[4096:4096+16+len(good)])); err != nil {
		t.Error(err) // twice fits in
	}
	for i := range 200 {
		copy(shared[32+16*i:], ndb[32:48])
	}
	if _, err := headersOf(shared); !errors.Is(err, errCorrupt) {
		t.Errorf("one header for 200 packages: %v", err)
	}
}

// However a database is damaged: an error, or headers that fit into it.
func TestDamagedSQLite(t *testing.T) {
	t.Parallel()
	good := sqliteOf(t, tableOfRPM, rpmEntries...)
	random := rand.New(rand.NewPCG(1, 2))
	failed := 0
	for range 300 {
		b := bytes.Clone(good)
		for range 1 + random.IntN(8) {
			// The head, the schema and the first table's pages decide most.
			b[16+random.IntN(random.IntN(len(b)-16)+1)] = byte(random.Uint32())
		}
		headers, err := headersOf(b)
		if err != nil {
			failed++
		}
		if total := len(slices.Concat(headers...)); total > len(b) || err != nil && !errors.Is(err, errCorrupt) {
			t.Errorf("%d bytes of headers, %v", total, err)
		}
	}
	if failed < 20 {
		t.Errorf("only %d of 300 were noticed", failed)
	}
}

func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *rpmHeader){
		"no name":            func(h *rpmHeader) { h.index = h.index[16:]; h.n-- },
		"name is a number":   func(h *rpmHeader) { h.numbers(tagName, 1) },
		"epoch is a text":    func(h *rpmHeader) { h.text(tagEpoch, "1") },
		"text without end":   func(h *rpmHeader) { h.put(tagArch, typeString, 1, []byte("x")) },
		"count":              func(h *rpmHeader) { h.put(tagArch, typeString, 1<<31, []byte("x\x00")) },
		"numbers outside":    func(h *rpmHeader) { h.put(tagEpoch, typeInt32, 1<<30, []byte{1, 2, 3, 4}) },
		"offset outside":     func(h *rpmHeader) { h.text(tagArch, "x"); h.index[len(h.index)-8] = 0x7f },
		"more than there is": func(h *rpmHeader) { h.n++ },
		"nothing":            func(h *rpmHeader) { *h = rpmHeader{} },
		"base names":         func(h *rpmHeader) { h.text(tagBaseNames, "x") },
		"folders":            func(h *rpmHeader) { h.text(tagDirNames, "x") },
		"numbers of folders": func(h *rpmHeader) { h.text(tagDirIndexes, "x") },
		"digests":            func(h *rpmHeader) { h.text(tagDigests, "x") },
		"in no folder":       func(h *rpmHeader) { h.texts(tagBaseNames, "x"); h.numbers(tagDirIndexes, 1); h.texts(tagDirNames, "/") },
		"fewer digests": func(h *rpmHeader) {
			h.texts(tagBaseNames, "x", "y")
			h.numbers(tagDirIndexes, 0, 0)
			h.texts(tagDirNames, "/")
			h.texts(tagDigests, "")
		},
	} {
		var h rpmHeader
		h.text(tagName, "a")
		h.text(tagVersion, "1")
		h.text(tagRelease, "1")
		change(&h)
		p, err := parseHeader(h.blob())
		if err == nil {
			_, err = p.files()
		}
		if !errors.Is(err, errHeader) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
}

// Whatever comes out of a root: no panic, and never more than is there.
func FuzzRPMDatabase(f *testing.F) {
	f.Add(berkeleyOf(binary.LittleEndian, rpmEntries...))
	f.Add(berkeleyOf(binary.BigEndian, rpmEntries...))
	f.Add(ndbOf(rpmEntries...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.HasPrefix(b, sqliteMark) {
			return // TestDamagedSQLite: as much code as SQLite's is too slow to fuzz
		}
		headers, err := headersOf(b)
		if err != nil && !errors.Is(err, errCorrupt) {
			t.Error(err)
		}
		total := 0
		for _, h := range headers {
			total += len(h)
			if p, err := parseHeader(h); err == nil {
				_, _ = p.files()
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of headers in %d", total, len(b))
		}
	})
}

func FuzzRPMHeader(f *testing.F) {
	for _, h := range rpmEntries {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseHeader(b)
		if err != nil {
			return
		}
		files, err := p.files()
		if p.name == "" || err == nil && 5*len(files) > len(b) {
			t.Errorf("%+v: %d files in %d bytes", p, len(files), len(b))
		}
		for _, file := range files {
			if !strings.HasPrefix(file.path, "/") || strings.Contains(file.path, "/../") {
				t.Errorf("path %q", file.path)
			}
		}
	})
}
