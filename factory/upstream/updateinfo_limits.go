package upstream

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

// limits are how much of an updateinfo is read: its makers may not be who they say, and it is read where everything else runs.
type limits struct {
	packed, plain        int64 // bytes
	window               int64 // bytes that a decompressor may keep
	token                int64 // bytes of one tag or text
	text, depth          int
	references, packages int // of an advisory
}

// updateinfoLimits are several times what the largest distribution has.
var updateinfoLimits = limits{packed: 64 << 20, plain: 256 << 20, window: 64 << 20, token: 1 << 20, text: 16 << 10, depth: 32, references: 10_000, packages: 20_000}

// amount is a limit for people.
func amount(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// meter ends a decoder's input when there is too much of it.
type meter struct {
	*bufio.Reader
	l            limits
	total, token int64
	over         error
}

// ReadByte is how the decoder reads.
func (m *meter) ReadByte() (byte, error) {
	b, err := m.Reader.ReadByte()
	if err != nil {
		return 0, err
	}
	m.total++
	m.token++
	switch {
	case m.total > m.l.plain:
		m.over = errors.New("it is larger than " + amount(m.l.plain))
	case m.token > m.l.token:
		m.over = errors.New("a tag or text in it is longer than " + amount(m.l.token))
	}
	return b, m.over
}

// decompress tells by the first bytes how metadata is compressed.
func decompress(b []byte, l limits) (io.Reader, error) {
	if int64(len(b)) > l.packed {
		return nil, errors.New("its file is larger than " + amount(l.packed))
	}
	r := bytes.NewReader(b)
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return gzip.NewReader(r)
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(l.window)), zstd.WithDecoderMaxWindow(uint64(l.window)))
		return inWindow{z, l}, err
	case bytes.HasPrefix(b, []byte(xzMagic)):
		return newXZ(b, l)
	case bytes.HasPrefix(b, []byte("BZh")):
		return bzip2.NewReader(r), nil
	}
	return r, nil
}

// inWindow says which limit zstd met.
type inWindow struct {
	io.Reader
	l limits
}

func (r inWindow) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = tooWide(r.l)
	}
	return n, err
}

func tooWide(l limits) error {
	return errors.New("its compression needs more than " + amount(l.window) + " of memory")
}

const xzMagic = "\xfd7zXZ\x00"

// xzBlocks reads the blocks of an xz file's only stream. The library's reader takes the memory that each block asks for, up to 4 GiB;
// this one looks first. What the file's own checksums would tell, dnf has told: the metadata's are stronger.
type xzBlocks struct {
	l     limits
	r     *bytes.Reader
	check int64 // bytes behind each block
	block io.Reader
}

var errXZ = errors.New("it is not an xz file of the plain kind")

func newXZ(b []byte, l limits) (io.Reader, error) {
	if len(b) < 12 || b[6] != 0 || b[7] > 15 {
		return nil, errXZ
	}
	checks := [...]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}
	x := &xzBlocks{l: l, r: bytes.NewReader(b), check: checks[b[7]]}
	_, err := x.r.Seek(12, io.SeekStart)
	return x, err
}

// Read reads on, in the next block where one ends.
func (x *xzBlocks) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.block.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if err = x.end(); err != nil || n > 0 {
			return n, err
		}
	}
}

// next reads a block's header, and gives it the memory that it asks for.
func (x *xzBlocks) next() error {
	size, err := x.r.ReadByte()
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	if size == 0 { // the index: there are no more
		return io.EOF
	}
	header := make([]byte, (int(size)+1)*4-1)
	if _, err := io.ReadFull(x.r, header); err != nil {
		return io.ErrUnexpectedEOF
	}
	flags, rest := header[0], header[1:]
	for _, sized := range []byte{0x40, 0x80} {
		if flags&sized != 0 {
			rest = rest[min(len(rest), 1+countMore(rest)):]
		}
	}
	if flags&0x3f != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 { // other filters than LZMA2
		return errXZ
	}
	dict, err := lzma.DecodeDictCap(rest[2])
	if err != nil {
		return err
	}
	if dict > x.l.window {
		return tooWide(x.l)
	}
	x.block, err = lzma.Reader2Config{DictCap: int(max(dict, lzma.MinDictCap))}.NewReader2(x.r)
	return err
}

// countMore returns how many bytes of a number are followed by another.
func countMore(b []byte) int {
	n := 0
	for n < len(b) && b[n]&0x80 != 0 {
		n++
	}
	return n
}

// end leaves a block.
func (x *xzBlocks) end() error {
	x.block = nil
	at := x.r.Size() - int64(x.r.Len())
	_, err := x.r.Seek((at+3)/4*4+x.check, io.SeekStart)
	return err
}
