package oci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
)

// The tags of a package's header that are of interest here, and the types of their data.
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagEpoch      = 1003
	tagArch       = 1022
	tagDigests    = 1035
	tagDirIndexes = 1116
	tagBaseNames  = 1117
	tagDirNames   = 1118
	tagDigestAlgo = 5011

	typeInt32   = 4
	typeString  = 6
	typeStrings = 8

	maxTags = 1 << 16 // of one header, as in rpm
)

var errHeader = errors.New("not a package header")

// rpmPackage is what a header says.
type rpmPackage struct {
	name, version, release, arch string
	epoch                        uint32
	algorithm                    uint32 // of the files' digests, in OpenPGP's numbers; 0 = MD5
	tags                         map[uint32]rpmEntry
}

type rpmFile struct{ path, digest string } // the digest in hex, empty where there is nothing to sum up

// evr is the version as a lock writes it.
func (p rpmPackage) evr() string {
	v := p.version + "-" + p.release
	if p.epoch > 0 {
		v = fmt.Sprintf("%d:%s", p.epoch, v)
	}
	return v
}

// rpmEntry is one entry of a header's index.
type rpmEntry struct {
	kind, count uint32
	data        []byte // from the entry's data to the end of all data
}

// parseHeader reads a header as the database keeps it: number of entries, bytes of data, index, data. Of a tag that is there
// twice the last one counts: rpm appends what it changes at installation.
func parseHeader(b []byte) (p rpmPackage, err error) {
	if len(b) < 8 {
		return p, errHeader
	}
	entries, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if entries == 0 || entries > maxTags || uint64(len(b)) < 8+16*uint64(entries)+uint64(size) {
		return p, errHeader
	}
	index, data := b[8:8+16*entries], b[8+16*entries:][:size]
	p.tags = map[uint32]rpmEntry{}
	for ; len(index) > 0; index = index[16:] {
		tag, offset := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[8:])
		p.tags[tag] = rpmEntry{binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[12:]), data[min(offset, size):]}
	}
	for tag, to := range map[uint32]*string{tagName: &p.name, tagVersion: &p.version, tagRelease: &p.release, tagArch: &p.arch} {
		words, err := p.tags[tag].strings(typeString)
		if err != nil {
			return p, err
		}
		if len(words) > 0 {
			*to = words[0]
		}
	}
	for tag, to := range map[uint32]*uint32{tagEpoch: &p.epoch, tagDigestAlgo: &p.algorithm} {
		numbers, err := p.tags[tag].numbers()
		if err != nil {
			return p, err
		}
		if len(numbers) > 0 {
			*to = numbers[0]
		}
	}
	if p.name == "" || p.version == "" || p.release == "" {
		return p, fmt.Errorf("%w: it has no name or version", errHeader)
	}
	return p, nil
}

// files puts the paths of the package's files together, with their digests.
func (p rpmPackage) files() ([]rpmFile, error) {
	bases, err := p.tags[tagBaseNames].strings(typeStrings)
	if err != nil {
		return nil, err
	}
	dirs, err := p.tags[tagDirNames].strings(typeStrings)
	if err != nil {
		return nil, err
	}
	indexes, err := p.tags[tagDirIndexes].numbers()
	if err != nil {
		return nil, err
	}
	digests, err := p.tags[tagDigests].strings(typeStrings)
	if err != nil {
		return nil, err
	}
	if len(indexes) != len(bases) || len(digests) > 0 && len(digests) != len(bases) {
		return nil, fmt.Errorf("%.80q: %w: its lists of files differ in length", p.name, errHeader)
	}
	files := make([]rpmFile, len(bases))
	for i, base := range bases {
		if uint64(indexes[i]) >= uint64(len(dirs)) {
			return nil, fmt.Errorf("%.80q: %w: file in no folder", p.name, errHeader)
		}
		files[i].path = path.Clean("/" + dirs[indexes[i]] + "/" + base)
		if len(digests) > 0 {
			files[i].digest = digests[i]
		}
	}
	return files, nil
}

// strings returns the entry's texts; none when the tag is not there.
func (e rpmEntry) strings(kind uint32) ([]string, error) {
	if e.count == 0 {
		return nil, nil
	}
	if e.kind != kind || uint64(e.count) > uint64(len(e.data)) {
		return nil, errHeader
	}
	all, rest := make([]string, e.count), e.data
	for i := range all {
		text, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, errHeader
		}
		all[i], rest = string(text), after
	}
	return all, nil
}

// numbers returns the entry's numbers of 32 bits; none when the tag is not there.
func (e rpmEntry) numbers() ([]uint32, error) {
	if e.count == 0 {
		return nil, nil
	}
	if e.kind != typeInt32 || 4*uint64(e.count) > uint64(len(e.data)) {
		return nil, errHeader
	}
	all := make([]uint32, e.count)
	for i := range all {
		all[i] = binary.BigEndian.Uint32(e.data[4*i:])
	}
	return all, nil
}
