package definition

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const dependentsPath = folder + "/dependents.yaml"

// dependentsFile is baseimages/dependents.yaml.
type dependentsFile struct {
	Where      factory.Position
	Dependents []dependentFile `yaml:"dependents" doc:"Who builds on an image elsewhere, and how they are told of a new release."`
}

type dependentFile struct {
	Where      factory.Position
	Name       text     `yaml:"name" is:"dependent" need:"yes" doc:"The dependent's name; no other has it."`
	Repository text     `yaml:"repository" is:"code" need:"yes" doc:"The repository of its source as its server names it: payments/api."`
	Image      text     `yaml:"image" is:"image" need:"yes" doc:"The image that it builds on."`
	Env        text     `yaml:"env" enum:"dev,staging,prod" need:"yes" doc:"The environment whose releases it follows."`
	Owner      text     `yaml:"owner" is:"team" need:"yes" doc:"The team that answers for it: one of owners.yaml."`
	Canary     bool     `yaml:"canary" doc:"It is told before the others who follow the same image in the same environment."`
	Publishes  []text   `yaml:"publishes" is:"published" doc:"The repositories of the images that it makes: registry.example.com/payments/api."`
	Tell       tellFile `yaml:"tell" need:"yes" doc:"How it is told."`
}

type tellFile struct {
	Where    factory.Position
	How      text   `yaml:"how" enum:"github-repository-dispatch,github-workflow-dispatch,github-pull-request,gitlab-pipeline,jenkins,webhook" need:"yes" doc:"The way."`
	Server   text   `yaml:"server" is:"server" need:"yes" doc:"The id of a server in factory.yaml, which knows its URL and token."`
	Event    text   `yaml:"event" is:"event" doc:"Of github-repository-dispatch: the event's type."`
	Workflow text   `yaml:"workflow" is:"workflow" doc:"Of github-workflow-dispatch, and needed there: the workflow's file, like build.yml."`
	Job      text   `yaml:"job" is:"inside" doc:"Of jenkins, and needed there: the job's path, like payments/api."`
	Branch   text   `yaml:"branch" is:"inside" doc:"What a workflow or pipeline runs on, and what a pull request asks to be merged into; the default branch when not given, but gitlab-pipeline needs it."`
	Files    []text `yaml:"files" is:"inside" doc:"Of github-pull-request: the files whose FROM lines it moves; Dockerfile when not given."`
	Path     text   `yaml:"path" is:"inside" doc:"Of webhook: below the server's URL."`
}

// ways are what each way to tell knows beside its server, and what of that it needs.
var ways = map[factory.TellHow]struct{ knows, needs []string }{
	factory.TellRepositoryDispatch: {knows: []string{"event"}},
	factory.TellWorkflowDispatch:   {knows: []string{"workflow", "branch"}, needs: []string{"workflow"}},
	factory.TellPullRequest:        {knows: []string{"branch", "files"}},
	factory.TellGitLab:             {knows: []string{"branch"}, needs: []string{"branch"}},
	factory.TellJenkins:            {knows: []string{"job"}, needs: []string{"job"}},
	factory.TellWebhook:            {knows: []string{"path"}},
}

// readDependents reads dependents.yaml; a repository without that file has none. It returns those that are in order: a mistake in
// one keeps nobody else from being told.
func (l *loader) readDependents() (all []factory.Dependent) {
	if _, err := l.tree.stat(dependentsPath); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	n := l.parse(dependentsPath)
	if n == nil {
		return nil
	}
	var f dependentsFile
	before := len(l.problems)
	l.decode(n, &f, false)
	names := map[string]text{}
	for _, d := range f.Dependents {
		if first, twice := names[d.Name.Value]; twice && d.Name.Value != "" {
			l.problems.add(d.Name.At, "choose another name", "dependents: the name %s is taken in line %d", d.Name.Value, first.At.Line)
		}
		names[d.Name.Value] = d.Name
		l.checkDependent(d)
	}
	for i, d := range f.Dependents {
		within := func(p *factory.Problem) bool {
			last := i+1 == len(f.Dependents)
			return p.Where.Line == d.Where.Line || p.Where.Line > d.Where.Line && (last || p.Where.Line < f.Dependents[i+1].Where.Line)
		}
		if !slices.ContainsFunc(l.problems[before:], within) {
			all = append(all, d.dependent())
		}
	}
	slices.SortFunc(all, func(a, b factory.Dependent) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// checkDependent looks up what a dependent names, and whether its way to tell goes with the rest.
func (l *loader) checkDependent(d dependentFile) {
	if d.Image.Value != "" && !slices.Contains(l.names, d.Image.Value) {
		l.problems.add(d.Image.At, nearest(d.Image.Value, l.names), "dependents: no image %.80q in %s", d.Image.Value, folder)
	}
	if _, ok := l.owners.Teams.find(d.Owner.Value); !ok && d.Owner.Value != "" && l.owners.Where.Line > 0 {
		l.problems.add(d.Owner.At, nearest(d.Owner.Value, l.owners.Teams.names()), "dependents: unknown team %.80q, expected one of owners.yaml", d.Owner.Value)
	}
	way, known := ways[factory.TellHow(d.Tell.How.Value)]
	if !known {
		return // told when it was decoded
	}
	for _, key := range []string{"event", "workflow", "job", "branch", "files", "path"} {
		at := d.Tell.given()[key]
		switch {
		case at.Line > 0 && !slices.Contains(way.knows, key):
			l.problems.add(at, "remove it", "tell.%s: %s has none", key, d.Tell.How.Value)
		case at.Line == 0 && slices.Contains(way.needs, key):
			l.problems.add(d.Tell.Where, "add "+key+":", "tell: %s needs %q", d.Tell.How.Value, key)
		}
	}
}

// given says where each key stands that only some ways know.
func (t tellFile) given() map[string]factory.Position {
	at := map[string]factory.Position{"event": t.Event.At, "workflow": t.Workflow.At, "job": t.Job.At, "branch": t.Branch.At, "path": t.Path.At}
	if len(t.Files) > 0 {
		at["files"] = t.Files[0].At
	}
	return at
}

func (d dependentFile) dependent() factory.Dependent {
	t := d.Tell
	return factory.Dependent{
		Name: d.Name.Value, Repository: d.Repository.Value, Image: d.Image.Value, Env: factory.Env(d.Env.Value), Owner: d.Owner.Value, Canary: d.Canary, Publishes: sorted(d.Publishes), Where: d.Where,
		Tell: factory.Tell{How: factory.TellHow(t.How.Value), Server: t.Server.Value, Event: t.Event.Value, Workflow: t.Workflow.Value, Job: t.Job.Value, Branch: t.Branch.Value,
			Files: plain(t.Files), Path: t.Path.Value},
	}
}

// checkInside refuses what leaves the place that a path is relative to.
func checkInside(s string) string {
	if path.Clean(s) != s || strings.HasPrefix(s, "../") || s == ".." || s == "." {
		return "write it without . and .."
	}
	return ""
}
