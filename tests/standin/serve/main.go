// Serve makes the stand-in archives of the RPM families and serves them on loopback, to try the factory by hand without a way to
// the real ones. It prints what to put into factory.yaml and which keys to pin, then reads changes, one a line:
//
//	go run ./tests/standin/serve -dir DIR
//	redhat-9 security-update
//	amazon-2 tamper openssl-libs
//
// It ends with its input. Nothing it serves is from Red Hat or Amazon.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/standin"
)

func main() {
	if err := serve(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

// serve makes the archives, serves them, and obeys in until it ends.
func serve(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", "", "folder for archives and public keys (needed)")
	address := flags.String("addr", "127.0.0.1:0", "address to serve on")
	packages := flags.String("packages", "", "further package names, with commas")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "no folder for the archives", Hint: "-dir DIR"}
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	defer listener.Close()
	// A gate refuses old data, so what is published is five days old, whenever this is tried.
	published := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -5)
	mux, archives := http.NewServeMux(), map[standin.Release]*standin.Archive{}
	for _, r := range standin.Releases {
		a, err := standin.Make(filepath.Join(*dir, string(r)), r, standin.Options{Published: published, Packages: strings.FieldsFunc(*packages, func(c rune) bool { return c == ',' })})
		if err != nil {
			return err
		}
		archives[r] = a
		for _, top := range a.Tops() { // one host serves both releases of Amazon
			mux.Handle("/"+a.ID()+"/"+top+"/", http.StripPrefix("/"+a.ID(), a.Handler()))
		}
		if err := os.WriteFile(keyFile(*dir, a), []byte(a.Key().Armored()), 0o600); err != nil {
			return err
		}
	}
	server := &http.Server{Handler: mux}
	defer server.Close()
	go server.Serve(listener) // it ends when the input does
	explain(out, "http://"+listener.Addr().String(), *dir, archives)
	return obey(in, out, archives)
}

// keyFile has the name that the real key has in baseimages/keys.
func keyFile(dir string, a *standin.Archive) string {
	return filepath.Join(dir, strings.Replace(string(a.Release), "amazon-", "amazonlinux-", 1)+".asc")
}

// explain says how a factory takes these archives for the real ones.
func explain(out io.Writer, url, dir string, archives map[standin.Release]*standin.Archive) {
	fmt.Fprintf(out, "# factory.yaml\narchives:\n  redhat-ubi: %s/redhat-ubi\n  amazonlinux: %s/amazonlinux\n\n# Stand-in keys: put these in the place of the vendors' in baseimages/keys, and the fingerprints into the definitions.\n", url, url)
	for _, r := range standin.Releases {
		fmt.Fprintf(out, "%s %s\n", archives[r].Key().Fingerprint(), keyFile(dir, archives[r]))
	}
	fmt.Fprintf(out, "\n# Changes: RELEASE CHANGE [PACKAGE or VERSION]; %s\n", strings.Join(slices.Sorted(maps.Keys(changes)), ", "))
}

// changes are what a person can do to an archive, with one argument or none.
var changes = map[string]func(a *standin.Archive, arg string) error{
	"security-update":          func(a *standin.Archive, _ string) error { return a.SecurityUpdate() },
	"add-module":               func(a *standin.Archive, _ string) error { return a.AddModule() },
	"obsolete":                 func(a *standin.Archive, _ string) error { return a.Obsolete() },
	"move-release":             (*standin.Archive).MoveRelease,
	"unsign":                   (*standin.Archive).Unsign,
	"sign-with-other":          (*standin.Archive).SignWithOther,
	"tamper":                   (*standin.Archive).Tamper,
	"withdraw":                 (*standin.Archive).Withdraw,
	"replace":                  (*standin.Archive).Replace,
	"unsign-metadata":          func(a *standin.Archive, _ string) error { return a.UnsignMetadata() },
	"sign-metadata-with-other": func(a *standin.Archive, _ string) error { return a.SignMetadataWithOther() },
}

// obey makes the changes that are asked for, and says how each went.
func obey(in io.Reader, out io.Writer, archives map[standin.Release]*standin.Archive) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := append(strings.Fields(lines.Text()), "", "", "")
		if words[0] == "" {
			continue
		}
		a, change := archives[standin.Release(words[0])], changes[words[1]]
		err := errors.New("no such release or change")
		if a != nil && change != nil {
			err = change(a, words[2])
		}
		if err != nil {
			fmt.Fprintln(out, "not done:", err)
			continue
		}
		fmt.Fprintln(out, "done:", lines.Text())
	}
	return lines.Err()
}
