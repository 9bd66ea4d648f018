package e2e_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/cosign"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

func ociRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oci-registry NAME")
	}
	server := httptest.NewServer(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: publish REPOSITORY:TAG [PRIVATE-KEY]")
	}
	ref, err := name.NewTag(args[0])
	ts.Check(err)
	r := storetest.Release("debian-12", 0)
	r.Tag, err = factory.ParseTag(ref.TagStr())
	ts.Check(err)
	r.Created = r.Tag.Date.Time()
	r.Source.Commit = r.Tag.Hash + strings.Repeat("0", 32)
	img, err := random.Image(500, 1)
	ts.Check(err)
	config, err := img.ConfigFile()
	ts.Check(err)
	config.OS, config.Architecture = "linux", "amd64"
	config.Config.Labels = map[string]string{"org.opencontainers.image.revision": r.Source.Commit}
	img, err = mutate.ConfigFile(img, config)
	ts.Check(err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	digest, err := index.Digest()
	ts.Check(err)
	ts.Check(remote.WriteIndex(ref, index))
	ts.Setenv("DIGEST", digest.String())
	if len(args) == 1 {
		return
	}
	part, err := img.Digest()
	ts.Check(err)
	approved, err := fixture.Approved(r, factory.Digest(digest.String()), factory.Digest(part.String()))
	ts.Check(err)
	signer := &cosign.Signer{Key: ts.MkAbs(args[1]), Builder: "https://github.com/imagefactory/imagefactory", Version: "1", Run: "run-1",
		Now: func() time.Time { return r.Created.Add(time.Minute) }}
	repository := ref.Repository.String()
	signatures, err := signer.Sign(context.Background(), repository, approved)
	ts.Check(err)
	ts.Check(signer.Attach(context.Background(), repository, signatures))
}

func retag(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: retag REPOSITORY:TAG DIGEST")
	}
	ref, err := name.NewTag(args[0])
	ts.Check(err)
	desc, err := remote.Get(ref.Repository.Digest(args[1]))
	ts.Check(err)
	ts.Check(remote.Tag(ref, desc))
}

func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 not a registry\r\n")
			_ = c.Close()
		}
	}()
	ts.Setenv(args[0], l.Addr().String())
}
