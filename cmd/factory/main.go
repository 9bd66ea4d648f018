// Command factory rebuilds, hardens, signs and publishes an organisation's base images.
//
// main wires the adapters together; it is the only place where they meet, and where time, randomness, the environment
// and the terminal come in. One file per command; wire.go is the program at a glance.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/term"
)

// collectAt is how much more than what is in use a heap holds before it is collected, in percent. Most commands read much at once and
// end: at Go's own 100, collecting is a tenth of a plan's work. The double costs a night, which lives longer, little memory.
const collectAt = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	// Libraries below warn through a global logger about what is none of a user's business.
	logrus.SetOutput(io.Discard)
	ctx, stop := interruptible()
	code := run(ctx, os.Args[1:], world{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv, Environ: os.Environ, Now: time.Now,
		Terminal: term.IsTerminal(int(os.Stderr.Fd())), Colors: term.IsTerminal(int(os.Stdout.Fd())), Width: terminalWidth,
	})
	stop()
	os.Exit(code)
}

// errInterrupted is why a context ended when somebody pressed Ctrl-C or sent SIGTERM.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that the first SIGINT or SIGTERM cancels; the second one kills as usual.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel(errInterrupted)
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

func terminalWidth() int {
	w, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		return 80
	}
	return w
}
