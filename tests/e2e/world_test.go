package e2e_test

import (
	"bytes"
	"context"
	"crypto"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
	"github.com/imagefactory/imagefactory/factory/store/storetest"
	"github.com/imagefactory/imagefactory/tests/e2e/fixture"
)

func one(ts *testscript.TestScript, neg bool, args []string) string {
	if neg || len(args) != 1 {
		ts.Fatalf("want one argument")
	}
	return ts.MkAbs(args[0])
}

func repository(ts *testscript.TestScript, neg bool, args []string) {
	dir := one(ts, neg, args)
	ts.Check(fixture.Repository(dir))
	ts.Check(fixture.Commit(dir, "first"))
}

func child(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: child FOLDER NAME PARENT [YAML...]")
	}
	ts.Check(fixture.Child(ts.MkAbs(args[0]), args[1], args[2], strings.Join(args[3:], "\n")+"\n"))
}

func relock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: relock FOLDER [PACKAGE=VERSION...]")
	}
	versions := map[string]string{}
	for _, a := range args[1:] {
		name, version, _ := strings.Cut(a, "=")
		versions[name] = version
	}
	ts.Check(fixture.Lock(ts.MkAbs(args[0]), versions))
}

func commit(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(fixture.Commit(one(ts, neg, args), "next"))
}

func remember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: remember FOLDER STATE")
	}
	ts.Check(fixture.Remember(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// serveArchive serves what every suite signs, and no package. A stranger's archive is properly signed, by nobody known.
func serveArchive(ts *testscript.TestScript, _ bool, args []string) {
	release := []byte(fixture.InRelease)
	status := http.StatusOK
	switch strings.Join(args, " ") {
	case "down":
		status = http.StatusServiceUnavailable
	case "stranger":
		var err error
		release, err = strangersRelease()
		ts.Check(err)
	}
	reached := make(chan struct{})
	tell := sync.OnceFunc(func() { close(reached) })
	asked.Store(ts.Getenv("WORK"), reached)
	closing := make(chan struct{})
	hanging := slices.Contains(args, "hanging")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tell()
		if hanging {
			select {
			case <-r.Context().Done():
			case <-closing: // what a killed factory has left behind may still ask
			}
			return
		}
		if status == http.StatusOK && path.Base(r.URL.Path) != "InRelease" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(release)
	}))
	ts.Defer(func() { close(closing); server.Close() })
	ts.Setenv("ARCHIVE", server.URL+"/debian")
}

func strangersRelease() ([]byte, error) {
	// Long ago, because apt believes this machine's clock.
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA512, Time: func() time.Time { return time.Date(2020, 11, 20, 10, 0, 0, 0, time.UTC) }}
	key, err := openpgp.NewEntity("Stranger", "", "stranger@example.invalid", config)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, key.PrivateKey, config)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte("Suite: trixie\nCodename: trixie\nDate: Fri, 20 Nov 2020 10:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n")); err != nil {
		return nil, err
	}
	return b.Bytes(), w.Close()
}

// database opens a database for as long as use takes.
func database(ts *testscript.TestScript, name string, use func(ctx context.Context, db *store.Store) error) {
	ctx := context.Background()
	db, err := store.Open(ctx, ts.MkAbs(name), store.Options{Now: time.Now})
	ts.Check(err)
	err = use(ctx, db)
	ts.Check(db.Close())
	ts.Check(err)
}

// fill records two releases of debian-12 and one of debian-13, from before there was proof, a run that made one of them and a run that was killed.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	database(ts, one(ts, neg, args), func(ctx context.Context, db *store.Store) error {
		first, second, other := storetest.Release("debian-12", 0), storetest.Release("debian-12", 1), storetest.Release("debian-13", 1)
		for _, r := range []factory.Release{first, second, other} {
			r.Compliance, r.Scan, r.Documents = factory.Compliance{}, factory.Scan{}, nil
			if _, err := db.AddRelease(ctx, r); err != nil {
				return err
			}
		}
		began := first.Created
		runs := []factory.Run{
			{ID: "20261123-020000-aaaaaa", Command: "nightly", Env: factory.Prod, Host: "build1", PID: 1, Started: began, Jobs: []factory.RunJob{
				{Image: "debian-12", Action: factory.Rebuild, Reason: "first release", Release: first.ID, Ref: first.Tagged(), Digest: first.Digest, Steps: []factory.StepTime{{Step: factory.StepBuild, Seconds: 12.25}}},
				{Image: "debian-13", Action: factory.Rebuild, Reason: "first release", Error: "build debian-13: out of space\nmore"},
			}},
			{ID: "20261124-020000-bbbbbb", Command: "build", Host: "build1", PID: 2, Started: began.AddDate(0, 0, 1)},
		}
		for _, r := range runs {
			if err := db.BeginRun(ctx, r); err != nil {
				return err
			}
		}
		return db.FinishRun(ctx, runs[0].ID, factory.Partial, "1 released (debian-12), 1 failed (debian-13)\nin detail")
	})
}

func released(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 || len(args) > 5 {
		ts.Fatalf("usage: released FOLDER DATABASE IMAGE DAYS [PRIVATE-KEY|failing]")
	}
	days, err := strconv.Atoi(args[3])
	ts.Check(err)
	r, err := fixture.Release(ts.MkAbs(args[0]), ts.Getenv("FACTORY_REGISTRY"), args[2], time.Now().AddDate(0, 0, -days))
	ts.Check(err)
	switch {
	case len(args) == 4:
	case args[4] == "failing":
		fixture.Fail(r.Compliance)
	default:
		ts.Check(fixture.Sign(context.Background(), &r, ts.MkAbs(args[4])))
	}
	ts.Setenv("REF", r.Tagged())
	ts.Setenv("TAG", r.Tag.String())
	ts.Setenv("DIGEST", string(r.Digest))
	next := r.Tag
	next.Env = factory.Staging
	ts.Setenv("STAGING", next.String())
	database(ts, args[1], func(ctx context.Context, db *store.Store) error {
		if err := fixture.On(ctx, db, &r); err != nil {
			return err
		}
		_, err := db.AddRelease(ctx, r)
		return err
	})
}

// data writes vulnerability data for the small scanner. A finding is PACKAGE/ID/SEVERITY and, when there is a fix, /VERSION/DAYS
// since it was published.
func data(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: data FOLDER DAYS FINDING...")
	}
	ago := func(days string) time.Time {
		n, err := strconv.Atoi(days)
		ts.Check(err)
		return time.Now().UTC().Truncate(time.Second).AddDate(0, 0, -n)
	}
	d := fixture.Data{Kind: factory.TrivyDatabase, Updated: ago(args[1]).Add(-time.Minute)}
	for _, text := range args[2:] {
		part := append(strings.Split(text, "/"), "", "0")
		f := factory.Finding{Package: part[0], Vulnerability: part[1], SeverityBy: "debian", Fixed: part[3]}
		ts.Check(f.Severity.UnmarshalText([]byte(part[2])))
		if f.Fixed != "" {
			f.FixedOn = ago(part[4])
		}
		d.Known = append(d.Known, f)
	}
	ts.Check(d.Write(ts.MkAbs(args[0])))
}

func damage(ts *testscript.TestScript, neg bool, args []string) {
	found := 0
	ts.Check(filepath.WalkDir(one(ts, neg, args), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "trivy.db" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found++
		return os.Truncate(path, info.Size()/2)
	}))
	if found == 0 {
		ts.Fatalf("no trivy.db there")
	}
}

func replaceTag(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: replace-tag DATABASE IMAGE")
	}
	database(ts, args[0], func(ctx context.Context, db *store.Store) error {
		r, err := db.Latest(ctx, args[1])
		if err != nil {
			return err
		}
		_, err = fixture.Publish(r.Tagged(), "something else")
		return err
	})
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	db, err := store.Open(ctx, one(ts, neg, args), store.Options{Now: time.Now})
	ts.Check(err)
	ts.Defer(func() { ts.Check(db.Close()) })
	host, err := os.Hostname()
	ts.Check(err)
	_, err = db.Acquire(ctx, "factory", store.Holder{Run: "run-held", Command: "nightly", Host: host, PID: os.Getpid()}, time.Hour)
	ts.Check(err)
}
