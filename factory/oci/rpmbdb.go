package oci

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Berkeley DB's hash files, as far as rpm uses them: pages of pairs, a package's number and its header. A header that is too
// long for a page lies in a chain of pages of its own.
const (
	bdbHash = 0x00061561 // at 12 of the first page

	bdbPageHeader   = 26
	bdbOverflow     = 7  // types of pages
	bdbHashUnsorted = 2  // before version 4.6
	bdbHashSorted   = 13 //
	bdbInline       = 1  // types of items
	bdbOffPage      = 3
)

type bdbFile struct {
	b     []byte
	order binary.ByteOrder
	page  int // bytes
}

// berkeley reads the form of Amazon Linux 2, and of RHEL before 9.
func (c *collection) berkeley(b []byte) error {
	if len(b) < 512 {
		return fmt.Errorf("%w: it is of no known form", errCorrupt)
	}
	f := bdbFile{b: b, order: binary.LittleEndian}
	if f.order.Uint32(b[12:]) != bdbHash {
		f.order = binary.BigEndian
	}
	if f.order.Uint32(b[12:]) != bdbHash || b[24] != 0 { // encrypted
		return fmt.Errorf("%w: it is of no known form", errCorrupt)
	}
	f.page = int(f.order.Uint32(b[20:]))
	if !slices.Contains([]int{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}, f.page) {
		return errCorrupt
	}
	for at := f.page; at+f.page <= len(b); at += f.page {
		page := b[at : at+f.page]
		if t := page[25]; t != bdbHashUnsorted && t != bdbHashSorted {
			continue
		}
		if err := c.berkeleyPage(f, page); err != nil {
			return err
		}
	}
	return nil
}

// berkeleyPage reads the pairs of one page.
func (c *collection) berkeleyPage(f bdbFile, page []byte) error {
	items := int(f.order.Uint16(page[20:]))
	if items%2 != 0 || bdbPageHeader+2*items > f.page {
		return errCorrupt
	}
	// Items lie from the end of the page towards its front.
	item := func(i int) ([]byte, error) {
		begin, end := int(f.order.Uint16(page[bdbPageHeader+2*i:])), f.page
		if i > 0 {
			end = int(f.order.Uint16(page[bdbPageHeader+2*(i-1):]))
		}
		if begin < bdbPageHeader+2*items || begin >= end || end > f.page {
			return nil, errCorrupt
		}
		return page[begin:end], nil
	}
	for i := 0; i < items; i += 2 {
		key, err := item(i)
		if err != nil {
			return err
		}
		value, err := item(i + 1)
		if err != nil {
			return err
		}
		if key[0] != bdbInline || len(key) != 5 {
			return errCorrupt
		}
		if f.order.Uint32(key[1:]) == 0 { // the highest number so far
			continue
		}
		header, err := f.value(value)
		if err != nil {
			return err
		}
		if err := c.add(header); err != nil {
			return err
		}
	}
	return nil
}

// value is an item's content.
func (f bdbFile) value(item []byte) ([]byte, error) {
	switch {
	case item[0] == bdbInline:
		return item[1:], nil
	case item[0] != bdbOffPage || len(item) < 12:
		return nil, errCorrupt
	}
	number, size := uint64(f.order.Uint32(item[4:])), int(f.order.Uint32(item[8:]))
	if size > len(f.b) {
		return nil, errCorrupt
	}
	value := make([]byte, 0, size)
	for number != 0 && len(value) < size {
		at := number * uint64(f.page)
		if at+uint64(f.page) > uint64(len(f.b)) {
			return nil, errCorrupt
		}
		page := f.b[at : at+uint64(f.page)]
		used := int(f.order.Uint16(page[22:]))
		if page[25] != bdbOverflow || used == 0 || bdbPageHeader+used > f.page {
			return nil, errCorrupt
		}
		value = append(value, page[bdbPageHeader:bdbPageHeader+used]...)
		number = uint64(f.order.Uint32(page[16:]))
	}
	if len(value) != size {
		return nil, errCorrupt
	}
	return value, nil
}
