package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/progress"
)

// version is set by the Makefile to git describe.
var version = "devel"

// world is everything that a command takes from outside.
type world struct {
	Stdout, Stderr io.Writer
	Env            func(string) (string, bool)
	Environ        func() []string
	Now            func() time.Time
	Terminal       bool // whether Stderr is one
	Width          func() int
}

// command is what one command needs: the world, the configuration and, when it asks for them, the adapters.
type command struct {
	*app
	JSON bool
}

// run executes the command line and returns the exit code.
func run(ctx context.Context, args []string, w world) int {
	root := newRoot(w)
	root.SetArgs(args)
	root.SetOut(w.Stdout)
	root.SetErr(w.Stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	report(w, wantsJSON(args), err)
	return exitCode(err)
}

func wantsJSON(args []string) bool {
	for _, a := range args {
		if a == "--json" || a == "--progress=json" {
			return true
		}
	}
	return false
}

// report tells a person, or with --json a program, what went wrong.
func report(w world, asJSON bool, err error) {
	var silent silentError
	if err == nil || errors.As(err, &silent) {
		return
	}
	if asJSON {
		_ = json.NewEncoder(w.Stderr).Encode(map[string]any{"error": err.Error(), "exit": exitCode(err), "problems": problemsJSON(err)})
		return
	}
	for _, line := range errorLines(err) {
		fmt.Fprintln(w.Stderr, "factory: "+line)
	}
}

// silentError was told already.
type silentError struct{ error }

func (e silentError) Unwrap() error { return e.error }

// errorLines is one line for each problem, and a hint line where there is one.
func errorLines(err error) []string {
	var lines []string
	var list interface{ Unwrap() []error }
	if _, isProblem := err.(*factory.Problem); !isProblem && errors.As(err, &list) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				lines = append(lines, errorLines(e)...)
			}
			return lines
		}
	}
	text := err.Error()
	var p *factory.Problem
	if errors.As(err, &p) && p.Hint != "" {
		text = strings.Replace(text, " ("+p.Hint+")", "", 1)
		return append(lines, text, "  → "+p.Hint)
	}
	return append(lines, text)
}

func problemsJSON(err error) []map[string]any {
	all := []map[string]any{}
	for _, p := range factory.Problems(err) {
		m := map[string]any{"what": p.What, "where": p.Where, "hint": p.Hint}
		if p.Cause != nil {
			m["cause"] = p.Cause.Error()
		}
		all = append(all, m)
	}
	return all
}

// newRoot builds the command tree.
func newRoot(w world) *cobra.Command {
	root := &cobra.Command{
		Use:   "factory",
		Short: "rebuilds, hardens, signs and publishes base images",
		Long: "factory rebuilds an organisation's base images from their distributions' archives, hardens them to the CIS benchmark,\n" +
			"tests, signs and publishes them, and remembers how each came to be.\n\n" + exitHelp,
		SilenceErrors: true, SilenceUsage: true, Version: version,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &factory.Problem{Kind: factory.ErrInvalid, What: err.Error(), Hint: "try: " + cmd.CommandPath() + " --help"}
	})
	file := root.PersistentFlags().String("config", "", "configuration file (default DIR/factory.yaml)")
	archives := root.PersistentFlags().StringToString("archive", nil, "archive URL by id, as in debian=URL (default: the host's apt configuration)")
	for _, s := range settings {
		if s.flag != "-" {
			root.PersistentFlags().String(s.Key, "", s.Help+" (default "+s.Default+")")
		}
	}
	make := func(cmd *cobra.Command, asJSON bool) (*command, error) {
		cfg, err := loadConfig(changed(cmd.Flags()), *file, w.Env, hostArchives)
		if err != nil {
			return nil, err
		}
		for id, url := range *archives {
			cfg.Archives[id], cfg.archives[id] = url, "--archive"
		}
		return &command{app: newApp(cfg, w), JSON: asJSON}, nil
	}
	for _, add := range []func(maker) *cobra.Command{
		newNightly, newBuild, newPlan, newLock, newCheck, newSchema, newToolbox,
		newImages, newReleases, newRuns, newShow, newVerify, newReproduce, newRegistry, newKey, newConfig,
	} {
		root.AddCommand(add(make))
	}
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = cobra.NoArgs
		}
		checkArgs(c)
		c.Long = strings.TrimSpace(c.Long)
	}
	return root
}

// maker makes the environment of a command from its flags.
type maker func(cmd *cobra.Command, asJSON bool) (*command, error)

// checkArgs makes wrong arguments a Problem, for the exit code and the hint.
func checkArgs(c *cobra.Command) {
	check := c.Args
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &factory.Problem{Kind: factory.ErrInvalid, What: cmd.CommandPath() + ": " + err.Error(), Hint: "try: " + cmd.CommandPath() + " --help"}
		}
		return nil
	}
	for _, sub := range c.Commands() {
		if sub.Args == nil {
			sub.Args = cobra.NoArgs
		}
		checkArgs(sub)
	}
}

// changed returns the settings given as flags.
func changed(flags *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	flags.Visit(func(f *pflag.Flag) {
		for _, s := range settings {
			if s.Key == f.Name {
				given[s.Key] = f.Value.String()
			}
		}
	})
	return given
}

// leaf makes a command that runs f with everything wired, and releases it all afterwards, whatever happens.
func leaf(c *cobra.Command, mk maker, f func(ctx context.Context, c *command, args []string) error) *cobra.Command {
	asJSON := c.Flags().Bool("json", false, "print one JSON document instead of text")
	c.Args = orNoArgs(c.Args)
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		env, err := mk(cmd, *asJSON)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, env.close()) }()
		return f(cmd.Context(), env, args)
	}
	return c
}

func orNoArgs(a cobra.PositionalArgs) cobra.PositionalArgs {
	if a == nil {
		return cobra.NoArgs
	}
	return a
}

// newRenderer shows events as configured.
func newRenderer(c *config, w world) *progress.Renderer {
	_, noColor := w.Env("NO_COLOR")
	return progress.New(w.Stderr, progress.Mode(c.Progress).For(w.Terminal), w.Width(), noColor)
}
