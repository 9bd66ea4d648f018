package openscap

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/imagefactory/imagefactory/factory"
)

//go:embed scripts/prove.py
var script []byte

// Where things are while a step runs.
const (
	ownDir    = "/.prove"
	outputDir = "/.out"
)

// maxReport bounds the bytes of report.json, maxDocument those of one document.
const (
	maxReport   = 1 << 20
	maxDocument = 64 << 20
)

// request is what prove.py is asked for.
type request struct {
	Contents    []string     `json:"contents"` // names of copies, beside the script
	Target      string       `json:"target"`
	View        factory.View `json:"view"`
	Path        string       `json:"path"`
	Corrections []string     `json:"corrections"`
	// Packages is the format of the package database, Kernel the package that stands for a kernel in it.
	Packages    factory.Format `json:"packages"`
	Kernel      string         `json:"kernel"`
	Evaluations []evaluation   `json:"evaluations"`
	Plants      []string       `json:"plants"`
	Canary      evaluation     `json:"canary"`
	expect      canary
	from        prepared
}

// evaluation is one run of oscap.
type evaluation struct {
	Name    string   `json:"name"`
	Content string   `json:"content"` // name of the copy that it reads
	Profile string   `json:"profile"`
	Rules   []string `json:"rules"` // XCCDF ids; none = all that the profile selects
	Report  bool     `json:"report"`
	level   int
}

// report is what prove.py says.
type report struct {
	Schema   int            `json:"schema"`
	Devices  []string       `json:"devices"`  // that the device pattern was widened to
	Widened  map[string]int `json:"widened"`  // in how many places of which copy
	Links    int            `json:"links"`    // that were made relative
	Dangling []string       `json:"dangling"` // rules that the content does not have, and says that others conflict with
	Missing  []string       `json:"missing"`  // rules that were asked for and that the content does not have
	Runs     []ran          `json:"runs"`
}

// ran is one run of oscap that is over.
type ran struct {
	Name    string  `json:"name"`
	Exit    int     `json:"exit"`
	Seconds float64 `json:"seconds"`
	Stderr  string  `json:"stderr"`
}

// viewed is what one view of one root filesystem came to.
type viewed struct {
	view                     factory.View
	from                     prepared
	report                   report
	benchmark, version, tool string
	canaries                 []string
	evaluations              []factory.Evaluation
	documents                []factory.Document
}

// view runs all evaluations of one view, and its canary.
func (p Prover) view(ctx context.Context, img factory.Image, req request, root factory.Root) (viewed, error) {
	data, err := json.Marshal(req)
	if err != nil {
		return viewed{}, err
	}
	files := req.files()
	files[ownDir+"/prove.py"], files[ownDir+"/request.json"] = factory.File{Data: script}, factory.File{Data: data}
	res, err := p.Runner.Run(ctx, factory.Step{
		Name:  fmt.Sprintf("prove %s %s, %s view", img.Name, root.Platform, req.View),
		Image: img.Name, Step: factory.StepProve, Root: root, InToolbox: true,
		Args:  []string{"/usr/bin/python3", "-s", ownDir + "/prove.py", ownDir + "/request.json", outputDir},
		Env:   []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"},
		Files: files,
		Tmpfs: []string{"/tmp"}, Output: outputDir,
	})
	if err != nil {
		return viewed{}, err
	}
	if res.Exit != 0 {
		return viewed{}, &factory.Problem{What: fmt.Sprintf("the evaluation ended with exit %d", res.Exit), Cause: errors.New(tail(string(res.Stderr)))}
	}
	rep, err := parseReport(res.Output["report.json"])
	if err != nil {
		return viewed{}, err
	}
	return judge(req, rep, res.Output, root.Platform)
}

func parseReport(b []byte) (r report, err error) {
	if len(b) > maxReport {
		return r, &factory.Problem{What: fmt.Sprintf("the evaluation's report has %d bytes", len(b))}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, &factory.Problem{What: "the evaluation's report", Cause: err}
	}
	if r.Schema != 2 {
		return r, &factory.Problem{What: fmt.Sprintf("the evaluation's report has schema %d, this factory reads 2", r.Schema)}
	}
	return r, nil
}

// tail keeps the last lines of foreign output, without control characters.
func tail(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	lines := strings.Split(strings.TrimSpace(s), "\n")
	s = strings.Join(lines[max(0, len(lines)-8):], "\n")
	if len(s) > 2000 {
		s = "…" + strings.ToValidUTF8(s[len(s)-2000:], "")
	}
	return s
}
