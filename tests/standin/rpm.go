package standin

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/google/rpmpack"
)

// Tags that rpmpack has no field for.
const (
	tagSourceRPM       = 1044
	tagFileCaps        = 5010
	tagModularityLabel = 5096
)

// Bits of a requirement that rpmpack has no name for.
const (
	senseInterp = 1 << 8
	sensePre    = 1 << 9
	sensePost   = 1 << 10
)

// build makes the package. A nil key leaves it unsigned.
func build(e edition, l look, key *Key) ([]byte, error) {
	epoch := rpmpack.NoEpoch
	if e.epoch != "" {
		n, err := strconv.ParseUint(e.epoch, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%s: epoch: %w", e.Name, err)
		}
		epoch = uint32(n)
	}
	p, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
		Name: e.Name, Version: e.version, Release: e.release, Arch: e.arch, Epoch: epoch, BuildTime: born, BuildHost: "build.standin.invalid",
		Summary: "Stand-in for " + e.Name, Description: "A stand-in for " + e.Name + ": it has its name and version, and nothing of its content.\n" + again(e),
		Vendor: l.vendor, Packager: l.vendor, Licence: "MIT", Group: "Unspecified", URL: "https://standin.invalid/", Compressor: l.compressor,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	if err := relate(p, e); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	if err := fill(p, e); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	p.AddPrein(e.Pre)
	p.AddPostin(e.Post)
	p.AddCustomTag(tagSourceRPM, rpmpack.EntryString(e.source))
	if e.Module != "" {
		p.AddCustomTag(tagModularityLabel, rpmpack.EntryString(e.Module))
	}
	if key != nil {
		p.SetPGPSigner(key.detached)
	}
	var out bytes.Buffer
	err = p.Write(&out)
	return out.Bytes(), err
}

// relate sets what the package needs and gives. What rpmpack gives by itself lacks the epoch.
func relate(p *rpmpack.RPM, e edition) error {
	p.Provides = nil
	own := []string{e.Name + " = " + e.evr()}
	if e.arch != "noarch" {
		own = append(own, e.Name+isa(e.arch)+" = "+e.evr())
	}
	for _, lib := range e.Sonames {
		own = append(own, lib+"()(64bit)")
	}
	for _, r := range []struct {
		to   *rpmpack.Relations
		list []string
	}{{&p.Provides, append(own, e.Provides...)}, {&p.Requires, e.Requires}, {&p.Obsoletes, e.Obsoletes}, {&p.Conflicts, e.Conflicts}, {&p.Recommends, e.Recommends}} {
		for _, s := range r.list {
			if err := r.to.Set(s); err != nil {
				return err
			}
		}
	}
	// What a scriptlet needs must be there before it runs; these bits say so where the requirements go in a circle.
	if e.Pre != "" || e.Post != "" {
		p.Requires = append(p.Requires, &rpmpack.Relation{Name: "/bin/sh", Sense: senseInterp})
	}
	for _, r := range p.Requires {
		if e.Pre != "" {
			r.Sense |= sensePre
		}
		if e.Post != "" {
			r.Sense |= sensePost
		}
	}
	return nil
}

func isa(arch string) string {
	if arch == "aarch64" {
		return "(aarch-64)"
	}
	return "(x86-64)"
}
