package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
)

func newCompliance(mk maker) *cobra.Command {
	var html, env string
	c := &cobra.Command{
		Use: "compliance REF", Short: "show what OpenSCAP found in a release, rule by rule", Args: cobra.ExactArgs(1),
		Long: `compliance prints how a release was evaluated, the score of each evaluation with how many rules did not apply, and every rule that did not
pass. With --html it writes OpenSCAP's own reports, one file for each evaluation, named after FILE.

` + exitHelp,
		Example: "  factory compliance debian-12 --env prod\n  factory compliance debian-12 --json\n  factory compliance debian-12 --html report.html",
	}
	namedFlag(c, &env)
	c.Flags().StringVar(&html, "html", "", "write OpenSCAP's reports to this file, and further ones beside it")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		set, err := c.definitions()
		if err != nil {
			return err
		}
		r, err := c.releaseIn(ctx, args[0], env)
		if err != nil {
			return err
		}
		s, err := c.judge(ctx, set, r, cmp.Or(factory.Env(env), r.Tag.Env))
		if err != nil {
			return err
		}
		if len(r.Compliance.Evaluations) == 0 {
			return &factory.Problem{Kind: factory.ErrNotFound, What: r.Tagged() + " was released without an evaluation", Hint: "factory build " + r.Image}
		}
		if html != "" {
			if err := c.writeReports(ctx, r, html); err != nil {
				return err
			}
		}
		if c.JSON {
			return c.printJSON(s.waivedCompliance())
		}
		return c.printCompliance(r, s.waivedCompliance())
	})
}

func (c *command) printCompliance(r factory.Release, done factory.Compliance) error {
	fmt.Fprintf(c.out(), "%s\n%s, %s, %s\n", r.Tagged(), done.Content, done.Tool, done.Benchmark)
	for _, m := range done.Method {
		fmt.Fprintf(c.out(), "  %s\n", clean(m))
	}
	if len(done.Canaries) > 0 {
		fmt.Fprintf(c.out(), "  canaries that had to fail on planted files, and did: %s\n", strings.Join(done.Canaries, ", "))
	}
	fmt.Fprintln(c.out())
	var text, rules [][]string
	for _, e := range done.Evaluations {
		took := fmt.Sprintf("%.1f s", e.Seconds)
		if e.Seconds == 0 {
			took = "with level 2"
		}
		text = append(text, []string{e.Name(), e.Platform.String(), e.Score().String(), took, e.Profile})
		for _, o := range e.Rules {
			if o.Result == factory.RulePass || o.Result == factory.RuleNotApplicable {
				continue
			}
			why := o.Reason
			if o.Result == factory.RuleWaived {
				why = fmt.Sprintf("until %s: %s", o.Until, o.Reason)
			}
			rules = append(rules, []string{e.Name(), string(o.Result), o.Rule, strings.Join(o.Controls, " "), o.Title, why})
		}
	}
	if err := c.table([]string{"EVALUATION", "PLATFORM", "PASSED", "TOOK", "PROFILE"}, text); err != nil {
		return err
	}
	if len(rules) == 0 {
		return nil
	}
	fmt.Fprintln(c.out())
	return c.table([]string{"EVALUATION", "RESULT", "RULE", "CIS", "TITLE", "WHY"}, rules)
}

// writeReports writes the first report to file and every further one beside it: report.html, report-2.html.
func (c *command) writeReports(ctx context.Context, r factory.Release, file string) error {
	docs, err := c.documentsOf(ctx, r.ID, factory.ComplianceHTML)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		return &factory.Problem{Kind: factory.ErrNotFound, What: r.Tagged() + " was released without reports", Hint: "factory build " + r.Image}
	}
	stem := strings.TrimSuffix(file, ".html")
	for i, d := range docs {
		name := file
		if i > 0 {
			name = fmt.Sprintf("%s-%d.html", stem, i+1)
		}
		if err := os.WriteFile(name, d.Data, 0o644); err != nil {
			return &factory.Problem{Kind: factory.ErrInvalid, What: "report", Cause: err, Hint: "name a file in a folder that you may write: --html FILE"}
		}
		c.say("wrote %s: %s", name, d.Name)
	}
	return nil
}

func newSBOM(mk maker) *cobra.Command {
	var format, platform, env string
	c := &cobra.Command{
		Use: "sbom REF", Short: "print a release's SBOM", Args: cobra.ExactArgs(1),
		Long:    "sbom prints the SBOM that was kept and attested with a release, byte for byte.\n\n" + exitHelp,
		Example: "  factory sbom debian-12 > debian-12.cdx.json\n  factory sbom debian-12 --env prod --format spdx",
	}
	namedFlag(c, &env)
	c.Flags().StringVar(&format, "format", "cyclonedx", "cyclonedx or spdx")
	c.Flags().StringVar(&platform, "platform", "", "which platform's (default the first)")
	return leaf(c, mk, func(ctx context.Context, c *command, args []string) error {
		kind := factory.DocumentKind(format)
		if kind != factory.CycloneDX && kind != factory.SPDX {
			return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("--format %.20q", format), Hint: "cyclonedx or spdx"}
		}
		r, err := c.releaseIn(ctx, args[0], env)
		if err != nil {
			return err
		}
		docs, err := c.documentsOf(ctx, r.ID, kind)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(docs, func(d factory.Document) bool { return platform == "" || d.Platform.String() == platform })
		if i < 0 {
			return &factory.Problem{Kind: factory.ErrNotFound, What: strings.TrimSpace(fmt.Sprintf("%s has no %s SBOM %s", r.Tagged(), format, platform)), Hint: "factory show " + r.ID + " lists its platforms"}
		}
		_, err = c.out().Write(docs[i].Data)
		return err
	})
}
