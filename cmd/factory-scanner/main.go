// Command factory-scanner looks for known vulnerabilities in images and SBOMs, with Trivy as a library. The factory starts it
// and talks to it as package factory/scanner describes.
//
// Rules: a process of its own, that knows no secret: its environment is emptied before anything else happens, it opens no
// network connection, and what it writes lies in a private folder that is removed at its end. It never changes a database.
// Whatever it cannot look into is a fault, never an empty result.
package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/imagefactory/imagefactory/factory/scanner"
)

// version is set by the Makefile to git describe.
var version = "devel"

// trivyVersion is Trivy's, as go.mod has it.
const trivyVersion = "0.74.0"

const usage = `factory-scanner looks for known vulnerabilities in images and SBOMs. The factory starts it; people need not.

Usage:
  factory-scanner serve      answer requests on stdin until it ends; replies go to stdout
  factory-scanner --version
  factory-scanner --help
`

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1 // the conversation cannot go on
	exitUsage = 2
)

func main() {
	leave, err := isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, "factory-scanner:", err)
		os.Exit(exitFault)
	}
	code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	leave()
	os.Exit(code)
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := ""
	if len(args) == 1 {
		command = args[0]
	}
	switch command {
	case "serve":
		slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})))
		if err := newServer(runtime.GOMAXPROCS(0)).serve(stdin, stdout); err != nil {
			fmt.Fprintln(stderr, "factory-scanner:", err)
			return exitFault
		}
	case "version", "--version":
		fmt.Fprintf(stdout, "factory-scanner %s (Trivy %s, protocol %d)\n", version, trivyVersion, scanner.ProtocolVersion)
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "factory-scanner: %q is no command\n\n%s", args, usage)
		return exitUsage
	}
	return exitOK
}
