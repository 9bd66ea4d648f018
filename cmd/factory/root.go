package main

import (
	"context"
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
	Stdin          io.Reader // nil = empty
	Stdout, Stderr io.Writer
	Env            func(string) (string, bool)
	Environ        func() []string
	Now            func() time.Time
	Terminal       bool // whether Stderr is one
	Colors         bool // whether Stdout shows them
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
	err = whole(ctx, err)
	report(w, wantsJSON(args, w.Env), err)
	return exitCode(err)
}

// whole is err with what interrupted it.
func whole(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
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
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		what, _, _ := strings.Cut(err.Error(), ": strconv.")
		return &factory.Problem{Kind: factory.ErrInvalid, What: what, Hint: "try: " + cmd.CommandPath() + " --help"}
	})
	root.SetHelpCommand(newHelp(root))
	file := root.PersistentFlags().String("config", "", "configuration file (default DIR/factory.yaml)")
	archives := root.PersistentFlags().StringToString("archive", nil, "archive URL by id, as in debian=URL (default: the host's apt and dnf configuration)")
	for _, s := range settings {
		if s.flag != "-" {
			root.PersistentFlags().String(s.Key, "", s.Help+" (default "+s.Default+")")
		}
	}
	make := func(cmd *cobra.Command, asJSON bool) (*command, error) {
		cfg, err := loadConfig(changed(cmd), *file, w.Env, hostArchives)
		if err != nil {
			return &command{app: &app{cfg: cfg, w: w, began: w.Now()}, JSON: asJSON}, err
		}
		for id, url := range *archives {
			cfg.Archives[id], cfg.archives[id] = url, "--archive"
		}
		return &command{app: newApp(cfg, w), JSON: asJSON}, nil
	}
	for _, add := range []func(maker) *cobra.Command{
		newNightly, newBuild, newPlan, newLock, newCheck, newSchema, newToolbox,
		newStatus, newGraph, newImages, newReleases, newRuns, newShow, newVerify, newReproduce,
		newCompliance, newHardening, newSBOM, newFindings, newRescan, newGate, newPromote, newRebase, newRevoke, newLedger, newDB,
		newEmergency, newDependents, newAdoption, newTriggers, newRegistry, newKey, newConfig,
	} {
		root.AddCommand(add(make))
	}
	root.InitDefaultHelpCmd()
	checkArgs(root)
	return root
}

func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [COMMAND]", Short: "help about a command", Args: cobra.ArbitraryArgs, Long: "help explains a command.\n\n" + exitHelp,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			return cmd.Help()
		}}
}

func unknownCommand(parent *cobra.Command, name string) error {
	hint := "try: " + parent.CommandPath() + " --help"
	parent.SuggestionsMinimumDistance = 2
	if near := parent.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean " + parent.CommandPath() + " " + near[0] + "? " + hint
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("no command %q", parent.CommandPath()+" "+name), Hint: hint}
}

// maker makes the environment of a command from its flags. With an error there is as much of it as there was configuration.
type maker func(cmd *cobra.Command, asJSON bool) (*command, error)

// checkArgs makes wrong arguments a Problem, for the exit code and the hint.
func checkArgs(c *cobra.Command) {
	check := orNoArgs(c.Args)
	c.Args = func(cmd *cobra.Command, args []string) error {
		switch err := check(cmd, args); {
		case err == nil:
			return nil
		case cmd.HasSubCommands():
			return unknownCommand(cmd, args[0])
		}
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s: wrong number of arguments, %d", cmd.CommandPath(), len(args)), Hint: "usage: " + cmd.UseLine()}
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}

// changed returns the settings given as flags. A command's own flag of a setting's name is none.
func changed(cmd *cobra.Command) map[string]string {
	given := map[string]string{}
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
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
