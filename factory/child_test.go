package factory

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestChildsLock(t *testing.T) {
	t.Parallel()
	amd, arm := Platform{"linux", "amd64"}, Platform{"linux", "arm64"}
	pkg := func(name, version string) Package {
		return Package{Name: name, Version: version, Arch: "amd64", Archive: "debian", Path: name + ".deb", Size: 1, SHA256: DigestOf([]byte(name + version))}
	}
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	lock := func(packages ...Package) Lock {
		return Lock{Schema: LockSchema, Image: "debian-12", Definition: DigestOf(nil), Timestamp: at, Platforms: []LockedPlatform{{amd, packages}, {arm, packages}}}
	}
	parent := lock(pkg("bash", "1"), pkg("openssl", "3"))
	other := pkg("bash", "1")
	other.SHA256 = DigestOf(nil)
	for name, c := range map[string]struct {
		child Lock
		want  []PackageChange
	}{
		"the same":    {parent, nil},
		"more":        {lock(pkg("bash", "1"), pkg("openssl", "3"), pkg("python3", "3.11")), nil},
		"newer":       {lock(pkg("bash", "2"), pkg("openssl", "3")), []PackageChange{{Name: "bash", Old: "1", New: "2"}}},
		"other bytes": {lock(other, pkg("openssl", "3")), []PackageChange{{Name: "bash", Old: "1", New: "1"}}},
		"without":     {lock(pkg("bash", "1")), []PackageChange{{Name: "openssl", Old: "3"}}},
		"elsewhere":   {Lock{Platforms: []LockedPlatform{{Platform{"linux", "riscv64"}, nil}}}, []PackageChange{{Name: "platform linux/riscv64", New: "packages of its own"}}},
		"less":        {Lock{Platforms: parent.Platforms[:1]}, nil},
	} {
		if got := c.child.Lacks(parent); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s lacks %+v, want %+v", name, got, c.want)
		}
	}
	if got := lock(pkg("bash", "1"), pkg("python3", "3.11")).Beyond(parent); !slices.Equal(got, []string{"python3"}) {
		t.Error(got)
	}
	part, missing := parent.Part([]Platform{arm}, []string{"openssl", "zlib1g"})
	if want := []LockedPlatform{{arm, []Package{pkg("openssl", "3")}}}; !reflect.DeepEqual(part, want) || !slices.Equal(missing, []string{"zlib1g"}) {
		t.Errorf("%+v, missing %v", part, missing)
	}
	if part, missing = parent.Part([]Platform{amd, arm}, nil); !reflect.DeepEqual(part, parent.Platforms) || missing != nil {
		t.Errorf("%+v, missing %v", part, missing)
	}
	child := parent
	child.Image, child.Timestamp = "child", at.Add(-time.Hour)
	child, err := child.On(parent)
	bytes, _ := parent.Encode()
	if err != nil || *child.Parent != (LockedParent{"debian-12", DigestOf(bytes)}) || !child.Timestamp.Equal(at) {
		t.Errorf("%+v, %v", child, err)
	}
	child.Timestamp = at.Add(time.Hour)
	if child, _ = child.On(parent); !child.Timestamp.Equal(at.Add(time.Hour)) {
		t.Error(child.Timestamp)
	}
	encoded, err := child.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := DecodeLock(encoded); err != nil || !reflect.DeepEqual(again, child) {
		t.Errorf("%+v, %v", again, err)
	}
	before := child
	before.Parent = &LockedParent{"debian-12", DigestOf(nil)}
	if got := child.Since(&before); got.Empty() || !slices.Equal(got.Other, []string{"parent debian-12"}) {
		t.Errorf("%+v", got)
	}
	before.Parent = nil
	if got := child.Since(&before).Other; !slices.Equal(got, []string{"parent debian-12"}) {
		t.Error(got)
	}
	if got := before.Since(&child).Other; !slices.Equal(got, []string{"parent debian-12"}) {
		t.Error(got)
	}
}
