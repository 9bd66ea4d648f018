package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagefactory/imagefactory/factory"
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
	r.Repository = ref.Repository.String()
	r.Tag, err = factory.ParseTag(ref.TagStr())
	ts.Check(err)
	r.Created = r.Tag.Date.Time()
	r.Source.Commit = r.Tag.Hash + strings.Repeat("0", 32)
	ts.Check(fixture.PublishImage(&r))
	ts.Setenv("DIGEST", string(r.Digest))
	if len(args) > 1 {
		ts.Check(fixture.Sign(context.Background(), &r, ts.MkAbs(args[1])))
	}
}

func builtOn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: built-on REPOSITORY:TAG BASE DAYS [squashed]")
	}
	days, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(fixture.BuiltOn(args[0], args[1], time.Now().AddDate(0, 0, -days), len(args) == 4))
}

func closedCatalogue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: closed-catalogue NAME HOST")
	}
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: args[1]})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/_catalog"):
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, "/payments/api/tags/list"):
			http.Error(w, "", http.StatusForbidden)
		default:
			to.ServeHTTP(w, r)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

func publishData(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: publish-data REPOSITORY:TAG FOLDER")
	}
	ref, err := name.NewTag(args[0])
	ts.Check(err)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	ts.Check(t.AddFS(os.DirFS(ts.MkAbs(args[1]))))
	ts.Check(errors.Join(t.Close(), z.Close()))
	img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer(b.Bytes(), "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"))
	ts.Check(err)
	ts.Check(remote.Write(ref, img))
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
