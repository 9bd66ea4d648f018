package upstream

import (
	"fmt"
	"testing"
	"testing/fstest"
)

func TestHostYum(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"ubi":         {fstest.MapFS{"etc/yum.repos.d/ubi.repo": file("[ubi-9-baseos]\nname=x\nbaseurl = https://ubi.invalid/mirror/content/public/ubi/dist/ubi9/9/$basearch/baseos/os\nenabled=1\n")}, "map[redhat-ubi:https://ubi.invalid/mirror]"},
		"amazon 2023": {fstest.MapFS{"etc/yum.repos.d/a.repo": file("[a]\nmirrorlist=https://al.invalid/al2023/core/mirrors/$releasever/$basearch/mirror.list\n")}, "map[amazonlinux:https://al.invalid]"},
		"amazon 2": {fstest.MapFS{"etc/yum.repos.d/a.repo": file("[a]\nmirrorlist=$awsproto://$amazonlinux.$awsregion.$awsdomain/$releasever/$product/$target/$basearch/mirror.list\n"),
			"etc/yum/vars/awsproto": file("http\n"), "etc/yum/vars/amazonlinux": file("al"), "etc/yum/vars/awsregion": file("default"), "etc/yum/vars/awsdomain": file("invalid"), "etc/dnf/vars/aws": file("wrong"),
			"etc/dnf/vars/dir/x": file("")}, "map[amazonlinux:http://al.default.invalid]"},
		"amazon 2, path": {fstest.MapFS{"etc/yum.repos.d/a.repo": file("[a]\nbaseurl=http://x.invalid/other,\n  http://al.invalid/2/core/2.0/x86_64/0123456789abcdef0123456789abcdef01234567/\n")}, "map[amazonlinux:http://al.invalid]"},
		"first counts":   {fstest.MapFS{"etc/yum.repos.d/b.repo": file("[a]\nbaseurl=https://b.invalid/content/public/ubi/dist/x\n"), "etc/yum.repos.d/a.repo": file("[a]\nbaseurl=https://a.invalid/content/public/ubi/dist/x\n")}, "map[redhat-ubi:https://a.invalid]"},
		"switched off":   {fstest.MapFS{"etc/yum.repos.d/a.repo": file("# c\n[a]\nbaseurl=https://a.invalid/content/public/ubi/dist/x\nenabled = 0\n[b]\nenabled=1\nbaseurl=https://b.invalid/content/public/ubi/dist/x\n")}, "map[redhat-ubi:https://b.invalid]"},
		"unknown host":   {fstest.MapFS{"etc/yum.repos.d/a.repo": file("[a]\nbaseurl=https://$host/content/public/ubi/dist/x\nmetalink=ftp://b.invalid/content/public/ubi/dist/x\n")}, "map[]"},
		"both":           {fstest.MapFS{"etc/yum.repos.d/a.repo": file("[a]\nbaseurl=https://a.invalid/content/public/ubi/dist/x\n"), "etc/apt/sources.list": file("deb http://d.invalid/debian x main\n")}, "map[debian:http://d.invalid/debian redhat-ubi:https://a.invalid]"},
		"not a file":     {fstest.MapFS{"etc/yum.repos.d/a.repo/x": file("")}, "map[]"},
	} {
		got, err := HostArchives(c.fsys)
		if fmt.Sprint(got) != c.want || (err != nil) != (c.want == "map[]") {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func FuzzHostYum(f *testing.F) {
	f.Add([]byte("[a]\nbaseurl=https://a.invalid/content/public/ubi/dist/x\n y\nenabled=0\n"), []byte("x"))
	f.Fuzz(func(t *testing.T, repo, value []byte) {
		got, _ := HostArchives(fstest.MapFS{"etc/yum.repos.d/a.repo": {Data: repo}, "etc/dnf/vars/v": {Data: value}})
		for id, url := range got {
			if _, err := archiveURL(id, url); err != nil {
				t.Error(err)
			}
		}
	})
}
