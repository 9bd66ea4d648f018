package upstream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

// Errata that cannot be read, or none at all, make packages Missing, and nobody's advisories old.
func TestAdvisoriesRPMUnread(t *testing.T) {
	t.Parallel()
	img := standInImage(t)
	lock := factory.Lock{Platforms: []factory.LockedPlatform{{Platform: img.Platforms[0], Packages: []factory.Package{
		{Name: "aa", Archive: "redhat-ubi", Repository: "baseos"}, {Name: "bb", Archive: "redhat-ubi", Repository: "baseos"}, {Name: "cc", Archive: "redhat-ubi", Repository: "appstream"}}}}}
	const empty = "<updates/>"
	bad := func(text string) string { return "<updates><update type='security'>" + text + "</update></updates>" }
	const lacks = "the advisories of redhat 9 lack "
	const unread = "archive redhat-ubi baseos: 1 security advisories in its updateinfo cannot be read"
	for name, c := range map[string]struct {
		first, second string
		missing       []string
		warning       string
	}{
		"all is well":   {empty, empty, nil, ""},
		"none":          {"", "", []string{"aa", "bb", "cc"}, lacks + "3 of 3 packages (aa, bb, cc): no repository has updateinfo"},
		"one package":   {bad("<id>A-1</id><pkglist><collection><package name='aa'/></collection></pkglist>"), empty, []string{"aa"}, lacks + "1 of 3 packages (aa): " + unread},
		"elsewhere's":   {bad("<id>A-1</id><pkglist><collection><package name='cc'/></collection></pkglist>"), empty, []string{"cc"}, lacks + "1 of 3 packages (cc): " + unread},
		"nobody's":      {bad("<id>A-1</id><pkglist><collection><package name='zz'/></collection></pkglist>"), empty, nil, lacks + "0 of 3 packages: " + unread},
		"no telling":    {bad(""), empty, []string{"aa", "bb"}, lacks + "2 of 3 packages (aa, bb): " + unread},
		"one is broken": {empty, "garbage", []string{"cc"}, "(cc): archive redhat-ubi appstream: its updateinfo cannot be read: updateinfo: EOF"},
	} {
		out := map[string][]byte{"repomd/amd64.0": []byte("<repomd><revision>1262754400</revision></repomd>"), "repomd/amd64.1": []byte("<repomd><revision>1262754401</revision></repomd>")}
		for file, text := range map[string]string{"updateinfo/amd64.0": c.first, "updateinfo/amd64.1": c.second} {
			if text != "" {
				out[file] = []byte(text)
			}
		}
		warned := ""
		s := Solver{Archives: map[string]string{"redhat-ubi": "http://archive.invalid"}, Now: func() time.Time { return standin.Published }, Runner: scripted{res: factory.StepResult{Output: out}},
			Events: func(e factory.Event) { warned += e.Message }}
		all, err := s.Advisories(t.Context(), []LockedImage{{img, lock}})
		if err != nil || len(all) != 1 || !slices.Equal(all[0].Missing, c.missing) || all[0].Sources != 3-len(c.missing) || len(all[0].Known) != all[0].Sources || !all[0].Updated.Equal(standin.Published) || all[0].List == nil {
			t.Errorf("%s: %+v %v", name, all, err)
		}
		if (warned == "") != (c.warning == "") || !strings.HasSuffix(warned, c.warning) {
			t.Errorf("%s: %q", name, warned)
		}
	}
}

// failing is a build service at which the steps of some images fail.
type failing struct {
	Runner
	image string
	err   error
}

func (r failing) Run(ctx context.Context, s factory.Step) (factory.StepResult, error) {
	if s.Image == r.image || r.image == "" {
		return factory.StepResult{}, r.err
	}
	return r.Runner.Run(ctx, s)
}

// One distribution's fault does not take the others' advisories away.
func TestAdvisoriesOfSomeReleases(t *testing.T) {
	t.Parallel()
	n := newHarvested(t)
	deb := n.locked()
	img := standInImage(t)
	rpm := LockedImage{img, factory.Lock{Platforms: []factory.LockedPlatform{{Platform: img.Platforms[0], Packages: []factory.Package{{Name: "zz", Source: "z"}, {Name: "yy"}}}}}}
	down := &factory.Problem{Kind: factory.ErrUnavailable, What: "the archive does not answer"}
	both := []LockedImage{rpm, deb}

	good := n.s
	n.s.Runner = failing{n.s.Runner, img.Name, errors.Join(down, errors.New("twice"))}
	n.s.Archives["redhat-ubi"] = "http://archive.invalid"
	all, err := n.s.Advisories(t.Context(), both)
	if err != nil || len(all) != 2 || facts(all[0]) != bothFacts || all[1].Distro != img.Distro || !slices.Equal(all[1].Missing, []string{"yy", "zz"}) || all[1].Known != nil || all[1].List == nil || !all[1].Updated.Equal(n.s.Now()) {
		t.Fatalf("%+v %v", all, err)
	}
	if got := n.warnings(); len(got) != 1 || got[0] != "nothing is known of the 2 packages of redhat 9: advisories of redhat 9: the archive does not answer; twice" {
		t.Errorf("%q", got)
	}

	n.said = nil
	n.s.Now = func() time.Time { return standin.Published }
	n.s.Runner = failing{scripted{res: factory.StepResult{Output: map[string][]byte{"repomd/amd64.0": []byte("<repomd><revision>1262754400</revision></repomd>"), "repomd/amd64.1": []byte("<repomd><revision>1262754401</revision></repomd>")}}}, deb.Image.Name, down}
	all, err = n.s.Advisories(t.Context(), both)
	if err != nil || len(all) != 2 || !slices.Equal(all[0].Missing, []string{"aa", "bb"}) || !all[0].Updated.Equal(standin.Published) || all[0].Distro != bookworm || !slices.Equal(all[1].Missing, []string{"yy", "zz"}) {
		t.Fatalf("%+v %v", all, err)
	}
	if got := n.warnings(); len(got) != 2 || !strings.HasPrefix(got[1], "nothing is known of the 2 packages of debian 12: ") {
		t.Errorf("%q", got)
	}

	n.s = good
	n.s.Runner = failing{nil, "", down}
	if all, err = n.s.Advisories(t.Context(), both); all != nil || !errors.Is(err, factory.ErrUnavailable) || !strings.Contains(err.Error(), "advisories of debian 12: ") || !strings.Contains(err.Error(), "advisories of redhat 9: ") {
		t.Errorf("%v %v", all, err)
	}
}
