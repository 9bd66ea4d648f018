package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/store"
)

func newStatus(mk maker) *cobra.Command {
	var page, age string
	c := &cobra.Command{
		Use: "status", Short: "the morning view: each image and environment, its age, findings, deadlines, compliance",
		Long: `status shows what is in force where: the newest release of each image and environment, how old it is, its drift (the age of the oldest
fix that there is and that it does not have), open findings by severity, the next deadline, compliance and owner. What the gate
would not let pass today is marked. --html writes the same as a page that needs nothing else.

--max-age is for monitors: exit 3, with a line for each, when there are images in force in the environment (--env), or nowhere
yet, that no night has rebuilt, kept or rescanned for so long: no night of that environment, nor of the one that the image was promoted
from. Nights of an older factory, which did not note their environment, count for each, and that is said. Images that are not set up here
do not count.

` + exitHelp,
		Example: "  factory status\n  factory status --json\n  factory status --html status.html\n  factory status --max-age 36h --env prod",
	}
	c.Flags().StringVar(&page, "html", "", "write a page to this file")
	c.Flags().StringVar(&age, "max-age", "", "exit 3 when a successful night is longer ago than this for an image, as in 36h or 2d")
	return leaf(c, mk, func(ctx context.Context, c *command, _ []string) error {
		most, err := atMost(age)
		if err != nil {
			return err
		}
		set, err := c.definitions()
		if err != nil {
			return err
		}
		v, err := c.morning(ctx, set)
		if err != nil {
			return err
		}
		if most > 0 {
			if err = c.overdue(ctx, set, &v, most); err != nil {
				return err
			}
		}
		if page != "" {
			if err := v.write(page); err != nil {
				return err
			}
			c.say("wrote %s", page)
		}
		show := c.printStatus
		if c.JSON {
			show = func(v view) error { return c.printJSON(v) }
		}
		return errors.Join(show(v), lateError(v.Overdue, age))
	})
}

// atMost reads a command's own --max-age; empty is 0.
func atMost(age string) (time.Duration, error) {
	if age == "" {
		return 0, nil
	}
	d, err := parseAge(age)
	if err != nil {
		return 0, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("--max-age %.20q", age), Hint: "expected a time such as 48h or 3d"}
	}
	return d, nil
}

// view is the morning view.
type view struct {
	At      time.Time   `json:"at"`
	LastRun *runView    `json:"lastRun,omitempty"` // the newest nightly
	Images  []imageView `json:"images"`
	Nowhere []absent    `json:"nowhere"` // images that are defined and in force nowhere
	// Overdue is what no night has looked at for too long; nil when nobody asked.
	Overdue []overdue `json:"overdue,omitzero"`
	// DeadTriggers is how many dependents could not be told of a release.
	DeadTriggers int `json:"deadTriggers,omitempty"`
	// FailedCanaries is how many hold others back because their build failed.
	FailedCanaries int `json:"failedCanaries,omitempty"`
	// Unsaid are images that are not overdue because of a night that did not note its environment.
	Unsaid []string `json:"unknownEnvironment,omitempty"`
}

// absent is an image that is nowhere in force.
type absent struct {
	Image string `json:"image"`
	Why   string `json:"why"`
}

type runView struct {
	ID      string           `json:"id"`
	Started time.Time        `json:"started"`
	State   factory.RunState `json:"state"`
	Verdict string           `json:"verdict"`
}

// imageView is one image in one environment.
type imageView struct {
	Image      string                   `json:"image"`
	Env        factory.Env              `json:"env"`
	Owner      factory.Owner            `json:"owner"`
	Release    string                   `json:"release"`
	Ref        string                   `json:"ref"`
	Digest     factory.Digest           `json:"digest"`
	Released   time.Time                `json:"released"`
	Since      time.Time                `json:"since"` // in this environment
	DriftHours float64                  `json:"driftHours"`
	Findings   map[factory.Severity]int `json:"findings"`
	Unfixed    int                      `json:"unfixed"` // of these, without a fix
	Waived     int                      `json:"waived"`
	Packages   int                      `json:"packages"` // that were looked at
	// NotLookedAt are packages that the data knows nothing about.
	NotLookedAt []string         `json:"notLookedAt,omitempty"`
	Database    factory.Database `json:"database"`
	Scanned     time.Time        `json:"scanned"`
	Pass        bool             `json:"pass"` // by today's gate
	Blocking    []factory.Reason `json:"blocking,omitempty"`
	Next        *factory.Reason  `json:"next,omitempty"` // the next deadline
	Compliance  []scoreView      `json:"compliance"`
	EndOfLife   factory.Date     `json:"endOfLife"`

	// RevokedNewer is set when a newer release was there and is revoked: somebody may still run it.
	RevokedNewer *factory.Entry `json:"revokedNewer,omitempty"`

	now  time.Time
	made factory.Env // the release's own: where it was made, before it was promoted
}

// scoreView is one evaluation's score.
type scoreView struct {
	Name string `json:"name"`
	factory.Score
}

func (c *command) morning(ctx context.Context, set definition.Set) (view, error) {
	v := view{At: c.w.Now().UTC(), Images: []imageView{}, Nowhere: []absent{}}
	all, err := c.standings(ctx, set, "", "")
	if err != nil {
		return v, err
	}
	there := map[string]bool{}
	for _, s := range all {
		there[s.Release.Image] = true
		row := s.view(v.At)
		if row.RevokedNewer, err = c.revokedNewer(ctx, s.Entry); err != nil {
			return v, err
		}
		v.Images = append(v.Images, row)
	}
	for _, img := range set.Images {
		if img.Kind != factory.KindToolbox && !there[img.Name] {
			why, err := c.whyNowhere(ctx, img.Name)
			if err != nil {
				return v, err
			}
			v.Nowhere = append(v.Nowhere, absent{img.Name, why})
		}
	}
	for _, name := range set.Broken {
		if !there[name] {
			v.Nowhere = append(v.Nowhere, absent{name, "its definition is not valid: factory check"})
		}
	}
	db, err := c.store(ctx)
	if err != nil {
		return v, err
	}
	counts, err := db.CountTriggers(ctx)
	if err != nil {
		return v, err
	}
	v.DeadTriggers = counts[factory.TriggerDead]
	if v.FailedCanaries, err = failedCanaries(ctx, db); err != nil {
		return v, err
	}
	v.LastRun, err = lastNight(ctx, db)
	return v, err
}

// whyNowhere is what the ledger says last of an image that is in no environment.
func (c *command) whyNowhere(ctx context.Context, image string) (string, error) {
	db, err := c.store(ctx)
	if err != nil {
		return "", err
	}
	last, err := db.Ledger(ctx, store.LedgerQuery{Image: image, Limit: 1})
	if err != nil || len(last) == 0 {
		return "never released", err
	}
	return fmt.Sprintf("revoked on %s: %s", factory.DateOf(last[0].At), last[0].Reason), nil
}

// revokedNewer is the revocation that brought an older release of an image back, nil when nothing did.
func (c *command) revokedNewer(ctx context.Context, e factory.Entry) (*factory.Entry, error) {
	db, err := c.store(ctx)
	if err != nil {
		return nil, err
	}
	last, err := db.Ledger(ctx, store.LedgerQuery{Image: e.Image, Env: e.Env, Limit: 1})
	if err != nil || len(last) == 0 || !last[0].Revoked {
		return nil, err
	}
	return &last[0], nil
}

// lastNight is the newest nightly run, nil when there is none among the newest hundred runs.
func lastNight(ctx context.Context, db *store.Store) (*runView, error) {
	runs, err := db.Runs(ctx, 100)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if r.Command == "nightly" {
			r = noticed(r)
			return &runView{r.ID, r.Started, r.State, firstLine(r.Verdict)}, nil
		}
	}
	return nil, nil
}

func (s standing) view(now time.Time) imageView {
	r := s.Release
	v := imageView{Image: r.Image, Env: s.Entry.Env, Owner: s.Evidence.Image.Owner, Release: r.ID, Ref: r.Repository + ":" + s.Entry.Tag.String(), Digest: r.Digest,
		Released: r.Created, Since: s.Entry.At, DriftHours: s.drift(now).Hours(), Findings: s.Scan.Counts(), Waived: len(s.Decision.Waived), Packages: s.Scan.Packages, NotLookedAt: s.Scan.NotLookedAt,
		Database: s.Scan.Database, Scanned: s.Scan.At, Pass: s.Decision.Pass, Blocking: s.Decision.Blocking(), Next: s.Decision.Next(), EndOfLife: s.Evidence.Image.EndOfLife, now: now, made: r.Tag.Env}
	for _, f := range s.Scan.Findings {
		if f.Fixed == "" {
			v.Unfixed++
		}
	}
	for _, e := range s.waivedCompliance().Evaluations {
		v.Compliance = append(v.Compliance, scoreView{e.Name(), e.Score()})
	}
	return v
}

// Age is how old the release is, for people.
func (v imageView) Age() string { return strings.TrimSuffix(ago(v.now, v.Released), " ago") }

// Drift is the age of the oldest fix that the release lacks, for people.
func (v imageView) Drift() string {
	switch {
	case v.Scanned.IsZero():
		return "unknown"
	case v.DriftHours == 0:
		return "none"
	}
	return strings.TrimSuffix(ago(v.now, v.now.Add(-time.Duration(v.DriftHours*float64(time.Hour)))), " ago")
}

// Found is the findings by severity, with how many have no fix.
func (v imageView) Found() string {
	text := severities(v.Findings)
	switch {
	case v.Scanned.IsZero():
		return "never scanned"
	case text == "":
		text = fmt.Sprintf("none in %d packages", v.Packages)
	case v.Unfixed > 0:
		text += fmt.Sprintf(" (%d without a fix)", v.Unfixed)
	}
	if n := len(v.NotLookedAt); n > 0 {
		text += fmt.Sprintf(", %d NOT looked at", n)
	}
	return text
}

// Due is the next deadline.
func (v imageView) Due() string {
	if v.Next == nil {
		return "-"
	}
	return v.Next.Deadline.String() + " " + v.Next.Subject
}

// Verdict is what the gate says today.
func (v imageView) Verdict() string {
	text := v.gate()
	if r := v.RevokedNewer; r != nil {
		text += fmt.Sprintf("; a newer one, %s, is REVOKED: %s", r.Digest.Short(), r.Reason)
	}
	return text
}

func (v imageView) gate() string {
	switch n := len(v.Blocking); {
	case v.Pass:
		return "pass"
	case n > 1:
		return fmt.Sprintf("BREACH: %s; and %d more", v.Blocking[0].Text, n-1)
	case n > 0:
		return "BREACH: " + v.Blocking[0].Text
	}
	return "BREACH"
}

// Scores is the compliance in one cell.
func (v imageView) Scores() string {
	var parts []string
	for _, s := range v.Compliance {
		parts = append(parts, s.Name+": "+s.Score.String())
	}
	if parts == nil {
		return "not evaluated"
	}
	return strings.Join(parts, "; ")
}

func (c *command) printStatus(v view) error {
	var text [][]string
	for _, i := range v.Images {
		_, tag, _ := strings.Cut(i.Ref[strings.LastIndexByte(i.Ref, '/')+1:], ":")
		text = append(text, []string{i.Image, string(i.Env), tag, i.Age(), i.Drift(), i.Found(), i.Due(), i.Owner.Team, i.Verdict(), i.Scores()})
	}
	for _, a := range v.Nowhere {
		text = append(text, []string{a.Image, "-", a.Why, "", "", "", "", "", "", ""})
	}
	if err := c.table([]string{"IMAGE", "ENV", "TAG", "AGE", "DRIFT", "FINDINGS", "NEXT DEADLINE", "OWNER", "GATE TODAY", "COMPLIANCE"}, text); err != nil {
		return err
	}
	data := map[string]bool{}
	for _, i := range v.Images {
		if !i.Scanned.IsZero() {
			data[i.Database.String()] = true
		}
	}
	if len(data) > 0 {
		fmt.Fprintf(c.w.Stderr, "vulnerability data: %s\n", strings.Join(sortedKeys(data), "; "))
	}
	if v.DeadTriggers > 0 {
		fmt.Fprintf(c.w.Stderr, "%s: somebody does not know of a release: factory triggers list --status dead\n", count(v.DeadTriggers, "dead trigger"))
	}
	if v.FailedCanaries > 0 {
		fmt.Fprintf(c.w.Stderr, "%s others back: factory triggers list\n", counted(v.FailedCanaries, "failed canary holds", "failed canaries hold"))
	}
	if v.LastRun == nil {
		fmt.Fprintln(c.w.Stderr, "no nightly run yet: factory nightly")
	} else {
		fmt.Fprintf(c.w.Stderr, "last nightly %s, %s: %s\n", ago(v.At, v.LastRun.Started), v.LastRun.State, clean(v.LastRun.Verdict))
	}
	return nil
}

//go:embed status.html
var statusPage string

// write renders the page.
func (v view) write(file string) error {
	t, err := template.New("status").Funcs(template.FuncMap{"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") },
		"severities": factory.Severities}).Parse(statusPage)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return err
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return &factory.Problem{Kind: factory.ErrInvalid, What: "page", Cause: err, Hint: "name a file in a folder that you may write: --html FILE"}
	}
	return nil
}
