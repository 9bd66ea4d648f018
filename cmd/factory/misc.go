package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
)

func newConfig(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "print every setting with where its value comes from",
		Long: "config prints the configuration in force. Precedence: flag, environment, factory.yaml, default. Secrets are references, never values.\n\n" + exitHelp}
	return leaf(c, mk, func(_ context.Context, c *command, _ []string) error {
		values, archives := map[string]value{}, map[string]value{}
		var text [][]string
		for _, s := range settings {
			v := c.cfg.values[s.Key]
			switch {
			case s.Key == "heartbeat" && v.Value != "" && !isReference(v.Value): // its path may be its token
				v.Value = "(hidden)"
			case s.Key != "identity": // which may have an @ in its path
				v.Value = withoutPassword(v.Value)
			}
			values[s.Key] = v
			text = append(text, []string{s.Key, v.Value, v.Origin, s.Env, s.Help})
		}
		for _, id := range sortedKeys(c.cfg.Archives) {
			v := value{withoutPassword(c.cfg.Archives[id]), c.cfg.archives[id]}
			archives[id] = v
			text = append(text, []string{"archives." + id, v.Value, v.Origin, "", "URL of this archive"})
		}
		for _, id := range sortedKeys(c.cfg.Entitlements) {
			e := c.cfg.Entitlements[id]
			text = append(text, []string{"entitlements." + id, strings.TrimSpace(e.Cert + " " + e.Key + " " + e.CA), "factory.yaml", "", "client certificate, key and authorities of this archive"})
		}
		for _, id := range sortedKeys(c.cfg.Servers) {
			s := c.cfg.Servers[id]
			tokens := s.Token
			if s.ReadToken != "" {
				tokens += ", read-token " + s.ReadToken
			}
			shown := fmt.Sprintf("%s, token %s, %d a minute", strings.TrimSpace(s.URL+" "+s.User), tokens, cmp.Or(s.PerMinute, 60))
			text = append(text, []string{"servers." + id, shown, "factory.yaml", "", "server that dependents are told through"})
		}
		if c.JSON {
			return c.printJSON(map[string]any{"settings": values, "archives": archives, "entitlements": c.cfg.Entitlements, "servers": c.cfg.Servers})
		}
		return c.table([]string{"SETTING", "VALUE", "ORIGIN", "ENVIRONMENT", "MEANING"}, text)
	})
}

func newToolbox(mk maker) *cobra.Command {
	c := &cobra.Command{Use: "toolbox", Short: "make the toolbox from its lock, unless it is there",
		Long: "toolbox makes the image with the factory's tools (apt, dpkg, Ansible, OpenSCAP, dnf, rpm) from the archive with mmdebstrap, as its lock\npins it, and prints its digest. nightly does the same when it is missing.\n\n" + exitHelp}
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		set, err := definition.Load(c.cfg.Dir)
		if err != nil {
			return err
		}
		l := &locking{app: c.app, set: set, Write: true}
		l.results = map[string]lockResult{}
		box, err := l.toolbox(ctx, false)
		if err != nil {
			return err
		}
		digest, err := c.toolbox(ctx, box.image, box.lock)
		if err != nil {
			return err
		}
		if c.JSON {
			return c.printJSON(map[string]any{"digest": digest, "packages": packageCount(box.lock)})
		}
		_, err = fmt.Fprintln(c.out(), digest)
		return err
	})
}

func newRegistry(mk maker) *cobra.Command {
	parent := &cobra.Command{Use: "registry", Short: "the embedded registry", Long: "The embedded registry lies in the state folder.\n\n" + exitHelp,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	serve := &cobra.Command{Use: "serve", Short: "serve the embedded registry until Ctrl-C, so that other clients can pull",
		Long:    "serve answers on registry-addr, for pulls by any OCI client. Runs of the factory meanwhile use it too.\n\n" + exitHelp,
		Example: "  factory registry serve &\n  docker pull 127.0.0.1:5117/debian-12:TAG"}
	parent.AddCommand(leaf(serve, mk, func(ctx context.Context, c *command, _ []string) error {
		running, err := c.registryServer().Start(ctx)
		if err != nil {
			return err
		}
		if running.Shared() {
			return &factory.Problem{Kind: factory.ErrBusy, What: "this registry is served already, on " + running.Addr(), Hint: "use that one"}
		}
		c.say("serving %s on %s", c.registryServer().Dir, running.Addr())
		<-ctx.Done()
		return running.Close()
	}))
	return parent
}
