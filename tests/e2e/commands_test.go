package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what scripts may say beyond testscript's own words.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":            exits,           // exits N PROGRAM ARG...: runs it, and it must exit with N
	"json":             isJSON,          // json FILE PATH KEY,KEY...|=VALUE: one document, whose value at PATH has exactly these keys, or is VALUE
	"monitor":          monitor,         // monitor FILE STATUS: sets MONITOR to the URL of who takes heartbeats, keeps the newest in FILE and its path in FILE.path, and answers STATUS
	"receiver":         receiver,        // receiver FILE CONFIG: takes webhooks into FILE and FILE.log, answers what FILE.status says; CONFIG names it as the server hooks
	"forges":           forges,          // forges CONFIG: servers git, lab and hooks, which CONFIG names, with the repository payments/api and the project shop/web
	"pipeline":         pipeline,        // pipeline N STATUS: of lab
	"seen":             seenByForges,    // seen FILE: what the forges have
	"id":               firstID,         // id NAME: sets NAME to the id of the first of the list on stdout
	"unit":             unit,            // unit N FILE: runs what a systemd service's ExecStart says, which must exit with N
	"get":              get,             // get URL STATUS
	"snapshot":         snapshot,        // snapshot FOLDER NAME: remembers every file below it
	"unchanged":        unchanged,       // unchanged FOLDER NAME: it still is as remembered
	"repository":       repository,      // repository FOLDER: a repository that is in order, committed
	"child":            child,           // child FOLDER NAME PARENT [YAML...]: defines an image that is built on another one
	"relock":           relock,          // relock FOLDER [PACKAGE=VERSION...]: locks that fit the definitions as they are now
	"commit":           commit,          // commit FOLDER
	"serve-archive":    serveArchive,    // serve-archive [down|stranger|hanging]: sets ARCHIVE to the URL of an archive
	"remember":         remember,        // remember FOLDER STATE: the archive has not moved since the locks were made
	"fill":             fill,            // fill DATABASE: releases and runs
	"released":         released,        // released FOLDER DATABASE IMAGE DAYS [PRIVATE-KEY|failing]: the image as it is was released to FACTORY_REGISTRY so many days ago; sets REF, TAG, STAGING, DIGEST
	"kept":             kept,            // kept SHOWN KIND FILE: what factory show says of a document is the digest of the file
	"data":             data,            // data FOLDER DAYS FINDING...: vulnerability data, so many days old
	"replace-tag":      replaceTag,      // replace-tag DATABASE IMAGE: lets the tag of its newest release stand for something else
	"hold":             hold,            // hold DATABASE: has the lease until the script ends
	"oci-registry":     ociRegistry,     // oci-registry NAME: sets NAME to the host of an empty registry
	"publish":          publish,         // publish REPOSITORY:TAG [PRIVATE-KEY]: sets DIGEST to an image's, signed when there is a key
	"built-on":         builtOn,         // built-on REPOSITORY:TAG BASE DAYS [squashed]: what somebody built on repository@digest so many days ago
	"closed-catalogue": closedCatalogue, // closed-catalogue NAME HOST: sets NAME to a registry that shows what HOST has, but no catalogue and no tag of payments/api
	"damage":           damage,          // damage FOLDER: cuts every trivy.db below it short
	"publish-data":     publishData,     // publish-data REPOSITORY:TAG FOLDER: vulnerability data as its makers publish it
	"retag":            retag,           // retag REPOSITORY:TAG DIGEST
	"occupy":           occupy,          // occupy NAME: sets NAME to an address where something else answers
	"serve":            serve,           // serve ARG...: factory registry serve in the background, sets SERVING to its address
	"start":            start,           // start ARG...: a factory in the background, until it asks the archive
	"signal":           signal,          // signal SIGNAL N: to what was started, which must exit with N
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit %d, want %s", got, args[0])
	}
}

func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: json FILE PATH KEY,KEY...|=VALUE")
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	var v any
	ts.Check(dec.Decode(&v))
	if _, err := dec.Token(); err != io.EOF {
		ts.Fatalf("more than one document")
	}
	for _, step := range strings.Split(strings.Trim(args[1], "/"), "/") {
		switch in := v.(type) {
		case map[string]any:
			if step != "" {
				v = in[step]
			}
		case []any:
			n, err := strconv.Atoi(step)
			if step == "" {
				continue
			}
			if err != nil || n >= len(in) {
				ts.Fatalf("no %s in a list of %d", step, len(in))
			}
			v = in[n]
		default:
			ts.Fatalf("no %s in %v", step, v)
		}
	}
	if want, ok := strings.CutPrefix(args[2], "="); ok {
		if list, isList := v.([]any); isList {
			v = fmt.Sprintf("list of %d", len(list))
		}
		if got := fmt.Sprint(v); got != want {
			ts.Fatalf("%s is %.200s, want %s", args[1], got, want)
		}
		return
	}
	object, ok := v.(map[string]any)
	if !ok {
		ts.Fatalf("%s is no object: %.200s", args[1], fmt.Sprint(v))
	}
	var keys []string
	for k := range object {
		keys = append(keys, k)
	}
	want := strings.Split(args[2], ",")
	slices.Sort(keys)
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		ts.Fatalf("keys %s\nwant %s", strings.Join(keys, ","), strings.Join(want, ","))
	}
}

func kept(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: kept SHOWN KIND FILE")
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(ts.ReadFile(args[2]))))
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "kept" && f[1] == args[1] && strings.HasPrefix(digest, f[len(f)-1]) {
			return
		}
	}
	ts.Fatalf("no %s of %s is kept", args[1], digest)
}

func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get URL STATUS")
	}
	res, err := http.Get(args[0])
	ts.Check(err)
	ts.Check(res.Body.Close())
	if fmt.Sprint(res.StatusCode) != args[1] {
		ts.Fatalf("%s, want %s", res.Status, args[1])
	}
}

// listing is every file below a folder, with its mode and a checksum.
func listing(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %s", info.Mode(), rel)
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(content))
		}
		b.WriteString("\n")
		return nil
	})
	return b.String(), err
}

func snapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: snapshot FOLDER NAME")
	}
	l, err := listing(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(l), 0o600))
}

func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: unchanged FOLDER NAME")
	}
	l, err := listing(ts.MkAbs(args[0]))
	ts.Check(err)
	if same := bytes.Equal([]byte(l), []byte(ts.ReadFile(args[1]))); same == neg {
		ts.Fatalf("unchanged is %v; now:\n%s", same, l)
	}
}
