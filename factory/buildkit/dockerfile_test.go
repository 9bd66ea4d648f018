package buildkit

import (
	"errors"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"github.com/imagefactory/imagefactory/factory"
)

func TestDockerfilesThatTakeNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"FROM debian-12\nRUN true\n",
		"FROM debian-12 AS made\nRUN echo > /x\nFROM debian-12\nCOPY --from=made /x /y\nCOPY --from=0 /x /z\nADD a b\n",
		"FROM debian-12 AS a\nFROM a\nRUN --mount=type=tmpfs,target=/c --mount=from=a,target=/a true\n",
		"FROM scratch AS data\nCOPY x /x\nFROM debian-12\nCOPY --from=data /x /x\nEXPOSE 80\nVOLUME /data\nHEALTHCHECK --interval=5s CMD true\nSHELL [\"/bin/bash\", \"-c\"]\nCMD [\"x\"]\n",
	} {
		if err := checkDockerfile([]byte(text), "debian-12", factory.Position{File: "Dockerfile"}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDockerfilesAreRefusedWithTheirLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"another image":     {"FROM debian-12 AS a\nFROM debian:bookworm\n", "Dockerfile:2: debian:bookworm is neither"},
		"a variable":        {"ARG B=x\nFROM ${B}\n", "Dockerfile:2: ${B} is neither"},
		"copied from one":   {"FROM debian-12\nCOPY --from=busybox /bin/sh /x\n", "Dockerfile:2: busybox is neither"},
		"mounted from one":  {"FROM debian-12\n\nRUN --mount=from=busybox,target=/x true\n", "Dockerfile:3: busybox is neither"},
		"an address":        {"FROM debian-12\nADD https://example.com/x /x\n", "Dockerfile:2: https://example.com/x is neither"},
		"another frontend":  {"# syntax=example.com/frontend\nFROM debian-12\n", "Dockerfile:1: syntax=example.com/frontend is neither"},
		"network":           {"FROM debian-12\nRUN --network=host true\n", "Dockerfile:2: RUN --network is not possible"},
		"a start interval":  {"FROM debian-12\nHEALTHCHECK --start-interval=1s CMD true\n", "Dockerfile:2: HEALTHCHECK --start-interval is not kept"},
		"for children":      {"FROM debian-12\nONBUILD RUN true\n", "Dockerfile:2: ONBUILD is not kept"},
		"not on the parent": {"FROM debian-12 AS a\nFROM scratch\n", "the last stage is not built on debian-12"},
		"on nothing known":  {"FROM scratch AS b\nFROM b\n", "the last stage is not built on debian-12"},
		"no Dockerfile":     {"hello\n", "no Dockerfile"},
		"empty":             {"", "no Dockerfile"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkDockerfile([]byte(c.text), "debian-12", factory.Position{File: "Dockerfile"})
			if !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Error(err)
			}
		})
	}
}

// What the frontend works on is the file, its context and the base, and a result may be made of nothing else.
func TestDockerfileInputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inputs["baseimages/python/files/conf/app"] = "a=1\n"
	w.inputs["baseimages/python/Dockerfile"] = "FROM debian-12\n"
	w.ready(t)
	k, err := w.client.child(batch{Locked: w.locked, platform: amd64, packages: w.locked.Lock.Platforms[0].Packages, toolbox: llb.Scratch()})
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := k.inputs(t.Context(), k.base, k.context["Dockerfile"].Data)
	if err != nil || len(inputs) != 3 {
		t.Fatal(len(inputs), err)
	}
	copied := false
	for _, raw := range inputs["context"].Def {
		var op pb.Op
		if err := op.UnmarshalVT(raw); err != nil {
			t.Fatal(err)
		}
		for _, a := range op.GetFile().GetActions() {
			if m := a.GetMkfile(); m != nil {
				copied = m.Path == "/conf/app" && string(m.Data) == "a=1\n"
			}
		}
	}
	if !copied {
		t.Error("the context lacks the file")
	}
	at := factory.Position{File: "Dockerfile"}
	made := k.base.File(llb.Mkfile("/x", 0o644, nil))
	if err := k.nothingElse(t.Context(), k.base, made, at); err != nil {
		t.Error(err)
	}
	made = made.File(llb.Copy(llb.Image("registry.example.com/other"), "/", "/other"))
	if err := k.nothingElse(t.Context(), k.base, made, at); !errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "registry.example.com/other") {
		t.Error(err)
	}
	silent := llb.Network(llb.NetModeNone)
	for what, opts := range map[string][]llb.RunOption{
		"":           {silent, llb.AddMount("/a", k.base, llb.Readonly), llb.AddMount("/tmp", llb.Scratch(), llb.Tmpfs())},
		"network":    {llb.Network(llb.NetModeSandbox)},
		"privileges": {silent, llb.Security(llb.SecurityModeInsecure)},
		"a cache":    {silent, llb.AddMount("/c", llb.Scratch(), llb.AsPersistentCacheDir("c", llb.CacheMountShared))},
		"a secret":   {silent, llb.AddSecret("/key", llb.SecretID("key"))},
		"a secret ":  {silent, llb.AddSecret("KEY", llb.SecretID("key"), llb.SecretAsEnv(true))},
		" a secret":  {silent, llb.AddSSHSocket()},
	} {
		made := k.base.Run(append(opts, llb.Shlex("true"))...).Root()
		if err := k.nothingElse(t.Context(), k.base, made, at); what == "" && err != nil || what != "" && (!errors.Is(err, factory.ErrInvalid) || !strings.Contains(err.Error(), "RUN with "+strings.TrimSpace(what)+" is not possible")) {
			t.Errorf("%q: %v", what, err)
		}
		if err := k.nothingElse(t.Context(), made, made, at); err != nil {
			t.Errorf("%q is refused where it is the base's: %v", what, err)
		}
	}
	w.client.Addr = "unix:///nowhere/buildkitd.sock"
	w.locked.Job.Image.Dockerfile = "Dockerfile"
	if _, _, err := w.describe(t); !errors.Is(err, factory.ErrUnavailable) {
		t.Error(err)
	}
}
