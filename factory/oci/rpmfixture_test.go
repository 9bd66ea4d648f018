package oci

import (
	"crypto/md5"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rpmHeader makes a header of tags, as rpm writes it into its database.
type rpmHeader struct {
	index, data []byte
	n           uint32
}

func (h *rpmHeader) put(tag, kind, count uint32, data []byte) {
	for kind == typeInt32 && len(h.data)%4 != 0 {
		h.data = append(h.data, 0)
	}
	for _, v := range []uint32{tag, kind, uint32(len(h.data)), count} {
		h.index = binary.BigEndian.AppendUint32(h.index, v)
	}
	h.data = append(h.data, data...)
	h.n++
}

func (h *rpmHeader) text(tag uint32, s string) { h.put(tag, typeString, 1, append([]byte(s), 0)) }

func (h *rpmHeader) texts(tag uint32, all ...string) {
	h.put(tag, typeStrings, uint32(len(all)), []byte(strings.Join(all, "\x00")+"\x00"))
}

func (h *rpmHeader) numbers(tag uint32, all ...uint32) {
	var b []byte
	for _, v := range all {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	h.put(tag, typeInt32, uint32(len(all)), b)
}

func (h *rpmHeader) blob() []byte {
	b := binary.BigEndian.AppendUint32(nil, h.n)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.data)))
	return slices.Concat(b, h.index, h.data)
}

// entry makes a package's header: files are "path=content", or "path" where there is nothing to sum up.
func entry(nevra string, algorithm uint32, files ...string) []byte {
	name, rest, _ := strings.Cut(nevra, " ")
	evr, arch, _ := strings.Cut(rest, " ")
	var h rpmHeader
	h.put(63, 7, 16, make([]byte, 16)) // a region, as every header has
	h.text(tagName, name)
	if epoch, v, ok := strings.Cut(evr, ":"); ok {
		evr = v
		h.numbers(tagEpoch, uint32(epoch[0]-'0'))
	}
	version, release, _ := strings.Cut(evr, "-")
	h.text(tagVersion, version)
	h.text(tagRelease, release)
	if arch != "" {
		h.text(tagArch, arch)
	}
	if len(files) == 0 {
		return h.blob()
	}
	var bases, dirs, digests []string
	var indexes []uint32
	for i, f := range files {
		name, content, sum := strings.Cut(f, "=")
		bases, dirs, indexes = append(bases, path.Base(name)), append(dirs, path.Dir(name)+"/"), append(indexes, uint32(i))
		digest := ""
		if sum && algorithm == algorithmMD5 {
			d := md5.Sum([]byte(content))
			digest = hex.EncodeToString(d[:])
		} else if sum {
			d := sha256.Sum256([]byte(content))
			digest = hex.EncodeToString(d[:])
		}
		digests = append(digests, digest)
	}
	h.texts(tagBaseNames, bases...)
	h.texts(tagDirNames, dirs...)
	h.numbers(tagDirIndexes, indexes...)
	h.texts(tagDigests, digests...)
	if algorithm != algorithmMD5 {
		h.numbers(tagDigestAlgo, algorithm)
	}
	return h.blob()
}

const tableOfRPM = "CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)"

// sqliteOf is a database in the newest form.
func sqliteOf(t testing.TB, table string, headers ...[]byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(table)
	for _, h := range headers {
		if err == nil {
			_, err = db.Exec("INSERT INTO Packages (blob) VALUES (?)", h)
		}
	}
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// berkeleyOf is a database in the oldest form, in pages of 512 bytes.
func berkeleyOf(order binary.AppendByteOrder, headers ...[]byte) []byte {
	const page = 512
	file := make([]byte, 2*page)
	o := order.(binary.ByteOrder)
	o.PutUint32(file[12:], bdbHash)
	o.PutUint32(file[20:], page)
	bucket := file[page:]
	bucket[25] = bdbHashSorted
	end, items := page, 0
	item := func(b []byte) {
		end -= len(b)
		copy(bucket[end:], b)
		o.PutUint16(bucket[bdbPageHeader+2*items:], uint16(end))
		items++
	}
	item(order.AppendUint32([]byte{bdbInline}, 0))
	item(order.AppendUint32([]byte{bdbInline}, uint32(len(headers))))
	for i, h := range headers {
		item(order.AppendUint32([]byte{bdbInline}, uint32(i+1)))
		if len(h) < 60 {
			item(append([]byte{bdbInline}, h...))
			continue
		}
		item(order.AppendUint32(order.AppendUint32([]byte{bdbOffPage, 0, 0, 0}, uint32(len(file)/page)), uint32(len(h))))
		for len(h) > 0 {
			p := make([]byte, page)
			n := copy(p[bdbPageHeader:], h)
			h = h[n:]
			p[25] = bdbOverflow
			o.PutUint16(p[22:], uint16(n))
			if len(h) > 0 {
				o.PutUint32(p[16:], uint32(len(file)/page+1))
			}
			file = append(file, p...)
			bucket = file[page:]
		}
	}
	o.PutUint16(bucket[20:], uint16(items))
	return file
}

// ndbOf is a database of SUSE's form.
func ndbOf(headers ...[]byte) []byte {
	file := make([]byte, 4096)
	copy(file, ndbMark)
	binary.LittleEndian.PutUint32(file[12:], 1)
	for at := 32; at < 4096; at += 16 {
		copy(file[at:], "Slot")
	}
	for i, h := range headers {
		slot := file[32+16*i:]
		binary.LittleEndian.PutUint32(slot[4:], uint32(i+1))
		binary.LittleEndian.PutUint32(slot[8:], uint32(len(file)/16))
		blob := append([]byte("BlbS"), make([]byte, 12)...)
		binary.LittleEndian.PutUint32(blob[4:], uint32(i+1))
		binary.LittleEndian.PutUint32(blob[12:], uint32(len(h)))
		file = append(append(file, blob...), h...)
		file = append(file, make([]byte, (16-len(file)%16)%16)...)
	}
	return file
}
