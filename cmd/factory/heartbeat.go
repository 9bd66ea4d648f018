package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/heartbeat"
)

// heart tells the monitor how a night ended, whatever ended it: only what never ran is silent.
type heart struct {
	given string // --heartbeat
	rests bool   // it was no night
	c     *command
}

func (h *heart) flag(c *cobra.Command) {
	c.Flags().StringVar(&h.given, "heartbeat", "", "tell this monitor how the night ended: its URL, env:NAME or file:PATH (default: the setting)")
}

// watching remembers what mk makes.
func (h *heart) watching(mk maker) maker {
	return func(cmd *cobra.Command, asJSON bool) (*command, error) {
		c, err := mk(cmd, asJSON)
		h.c = c
		return c, err
	}
}

// beating has c tell the monitor once everything that it started has ended.
func (h *heart) beating(c *cobra.Command) *cobra.Command {
	inner := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		err := inner(cmd, args)
		h.tell(cmd.Context(), err)
		return err
	}
	return c
}

// tell never changes how the night ends: what goes wrong is a warning.
func (h *heart) tell(ctx context.Context, err error) {
	if h.c == nil || h.rests {
		return
	}
	a := h.c.app
	ref := cmp.Or(h.given, a.heartbeat())
	if checkHeartbeat(ref) != nil {
		return // which was told, and is how the run ended
	}
	address, problem := ref, error(nil)
	if isReference(ref) {
		var b []byte
		b, problem = secret(ref, a.w.Env)
		address = strings.TrimSpace(string(b))
	}
	if problem == nil && address == "" {
		return
	}
	if problem == nil {
		problem = heartbeat.Monitor{URL: address}.Tell(context.WithoutCancel(ctx), a.beat(whole(ctx, err)))
	}
	if problem != nil {
		a.afterwards(factory.Event{Kind: factory.Warned, Message: problem.Error()})
	}
}

// beat is how this invocation ended.
func (a *app) beat(err error) heartbeat.Beat {
	b := heartbeat.Beat{Run: a.ran.ID, State: a.ran.State, Verdict: a.ran.Verdict, Exit: exitCode(err), Seconds: a.w.Now().Sub(a.began).Seconds()}
	if err != nil && (b.State == "" || b.State == factory.Succeeded) { // before there was a run, or after
		b.State, b.Verdict = ended(err), err.Error()
	}
	b.Verdict = firstLine(b.Verdict)
	return b
}

// heartbeat is the setting, also where the rest of the configuration is no good.
func (a *app) heartbeat() string {
	if a.cfg != nil && a.cfg.values["heartbeat"] != (value{}) {
		return a.cfg.values["heartbeat"].Value
	}
	v, _ := a.w.Env("FACTORY_HEARTBEAT")
	return v
}

// afterwards shows an event when everything else has been shown.
func (a *app) afterwards(e factory.Event) {
	e.Time = a.w.Now()
	r := newRenderer(cmp.Or(a.cfg, &config{}), a.w)
	r.Events()(e)
	_ = r.Close()
}

func isReference(v string) bool { return strings.HasPrefix(v, "env:") || strings.HasPrefix(v, "file:") }

// checkHeartbeat refuses what is neither a reference nor a URL, and does not repeat it. Empty is nobody.
func checkHeartbeat(v string) error {
	if v == "" || isReference(v) || heartbeat.Valid(v) {
		return nil
	}
	return &factory.Problem{Kind: factory.ErrInvalid, What: "--heartbeat is neither a URL nor a reference", Hint: "expected https://…, env:NAME or file:PATH"}
}
