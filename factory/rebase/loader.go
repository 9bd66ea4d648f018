package rebase

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	loaderMagic   = "glibc-ld.so.cache1.1"
	loaderHeader  = 48
	loaderEntry   = 24
	maxLoaderFile = 8 << 20
)

// loaderEntries reads what ld.so.cache names: each library with its file and its flags, sorted. Which version of ldconfig wrote it is
// left out. It reports whether the file could be read.
func loaderEntries(b []byte) ([]string, bool) {
	if len(b) < loaderHeader || len(b) > maxLoaderFile || !bytes.HasPrefix(b, []byte(loaderMagic)) {
		return nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b[20:]))
	if loaderHeader+n*loaderEntry > int64(len(b)) {
		return nil, false
	}
	text := func(at uint32) (string, bool) {
		if int64(at) >= int64(len(b)) {
			return "", false
		}
		s, _, ended := bytes.Cut(b[at:min(len(b), int(at)+4096)], []byte{0})
		return string(s), ended
	}
	all := make([]string, 0, n)
	for i := range n {
		e := b[loaderHeader+i*loaderEntry:]
		library, okLibrary := text(binary.LittleEndian.Uint32(e[4:]))
		file, okFile := text(binary.LittleEndian.Uint32(e[8:]))
		if !okLibrary || !okFile {
			return nil, false
		}
		all = append(all, fmt.Sprintf("%s %s %x %x", library, file, e[0:4], e[16:24]))
	}
	slices.Sort(all)
	return all, true
}
