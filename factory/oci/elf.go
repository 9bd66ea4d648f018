package oci

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// readELF reads what a program or library needs and offers. What is hostile or damaged comes back as Broken.
func readELF(b []byte) (e *factory.ELF) {
	e = &factory.ELF{}
	defer func() {
		if r := recover(); r != nil { // of a parser that trusts what it reads
			e = &factory.ELF{Broken: fmt.Sprint(r)}
		}
	}()
	if err := fillELF(e, b); err != nil {
		return &factory.ELF{Machine: e.Machine, Broken: err.Error()}
	}
	return e
}

func fillELF(e *factory.ELF, b []byte) error {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer f.Close()
	e.Machine = f.Machine.String() + " " + f.Class.String()
	if f.Type != elf.ET_DYN && f.Type != elf.ET_EXEC {
		return nil // an object file or a dump of memory needs nothing
	}
	linked := false
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			if p.Filesz > 4096 {
				return errors.New("the name of its interpreter is too long")
			}
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err != nil {
				return err
			}
			e.Interpreter = strings.TrimRight(string(name), "\x00")
		case elf.PT_DYNAMIC:
			linked = true
		}
	}
	if !linked {
		return nil // static
	}
	if f.SectionByType(elf.SHT_DYNAMIC) == nil {
		return errors.New("it is dynamically linked and has no section headers that say with what")
	}
	if e.Needed, err = f.DynString(elf.DT_NEEDED); err != nil {
		return err
	}
	names, err := f.DynString(elf.DT_SONAME)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		e.Soname = names[0]
	}
	return versions(e, f)
}

const (
	maxVersions     = 1 << 14 // of one program or library; libc has some hundreds in all
	maxVersionBytes = 4 << 20 // of a section with them
)

// versions reads the symbol versions that it wants of others and defines itself. The standard library reads them too, but would go on
// for hours where a hostile file tells it to.
func versions(e *factory.ELF, f *elf.File) error {
	wants, strings, err := versionSection(f, elf.SHT_GNU_VERNEED)
	if err != nil {
		return err
	}
	if e.Wants, err = readNeeds(wants, strings, f.ByteOrder); err != nil {
		return err
	}
	defines, strings, err := versionSection(f, elf.SHT_GNU_VERDEF)
	if err != nil {
		return err
	}
	e.Defines, err = readDefines(defines, strings, f.ByteOrder)
	return err
}

// versionSection returns a section and the strings that it names; nothing when there is none.
func versionSection(f *elf.File, kind elf.SectionType) (data, text []byte, err error) {
	s := f.SectionByType(kind)
	if s == nil {
		return nil, nil, nil
	}
	if int(s.Link) >= len(f.Sections) || s.Size > maxVersionBytes || f.Sections[s.Link].Size > maxELF {
		return nil, nil, fmt.Errorf("its section %s is damaged", kind)
	}
	if data, err = s.Data(); err != nil {
		return nil, nil, err
	}
	text, err = f.Sections[s.Link].Data()
	return data, text, err
}

var errVersions = errors.New("its symbol versions are damaged")

// stringAt is the text that begins at an offset of a table.
func stringAt(text []byte, at uint32) (string, bool) {
	if int64(at) >= int64(len(text)) {
		return "", false
	}
	s, _, ended := bytes.Cut(text[at:min(int64(len(text)), int64(at)+4096)], []byte{0})
	return string(s), ended
}

// readNeeds reads a verneed section: versions by the library that must define them. Weak ones are left out.
func readNeeds(d, text []byte, order binary.ByteOrder) (map[string][]string, error) {
	var all map[string][]string
	read := 0
	for i := uint32(0); len(d) > 0; {
		if int64(i)+16 > int64(len(d)) {
			return nil, errVersions
		}
		count, aux, next := order.Uint16(d[i+2:]), order.Uint32(d[i+8:]), order.Uint32(d[i+12:])
		library, ok := stringAt(text, order.Uint32(d[i+4:]))
		at := int64(i) + int64(aux)
		for range count {
			if read++; !ok || at+16 > int64(len(d)) || read > maxVersions {
				return nil, errVersions
			}
			version, ok := stringAt(text, order.Uint32(d[at+8:]))
			if !ok {
				return nil, errVersions
			}
			if elf.DynamicVersionFlag(order.Uint16(d[at+4:]))&elf.VER_FLG_WEAK == 0 {
				if all == nil {
					all = map[string][]string{}
				}
				all[library] = append(all[library], version)
			}
			at += int64(order.Uint32(d[at+12:]))
		}
		if read++; next == 0 {
			break
		}
		if int64(i)+int64(next) > int64(len(d)) || read > maxVersions {
			return nil, errVersions
		}
		i += next
	}
	for library, versions := range all {
		slices.Sort(versions)
		all[library] = slices.Compact(versions)
	}
	return all, nil
}

// readDefines reads a verdef section: the versions that a library defines, sorted, without its own name.
func readDefines(d, text []byte, order binary.ByteOrder) ([]string, error) {
	var all []string
	for i, read := uint32(0), 0; len(d) > 0; read++ {
		if int64(i)+20 > int64(len(d)) || read > maxVersions {
			return nil, errVersions
		}
		flags, aux, next := elf.DynamicVersionFlag(order.Uint16(d[i+2:])), order.Uint32(d[i+12:]), order.Uint32(d[i+16:])
		at := int64(i) + int64(aux)
		if at+8 > int64(len(d)) {
			return nil, errVersions
		}
		version, ok := stringAt(text, order.Uint32(d[at:]))
		if !ok {
			return nil, errVersions
		}
		if flags&elf.VER_FLG_BASE == 0 {
			all = append(all, version)
		}
		if next == 0 {
			break
		}
		if int64(i)+int64(next) > int64(len(d)) {
			return nil, errVersions
		}
		i += next
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
