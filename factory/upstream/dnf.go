package upstream

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

var (
	//go:embed solve_dnf.py
	solveDNF []byte
	//go:embed check_rpm.py
	checkRPM []byte
)

// secretDir is where a step finds client certificates.
const secretDir = "/.secrets"

// dnf locks images of the RPM families.
type dnf struct{ Solver }

// shares is empty: each package that dnf chose is fetched and checked in the step that chose it, for one image.
func (s dnf) shares(Request) string { return "" }

func (s dnf) solve(ctx context.Context, reqs []Request) []Solution {
	all := make([]Solution, len(reqs))
	for i, req := range reqs {
		all[i].Lock, all[i].Change, all[i].Err = s.one(ctx, req)
	}
	return all
}

func (s dnf) one(ctx context.Context, req Request) (factory.Lock, factory.LockChange, error) {
	fail := func(err error) (factory.Lock, factory.LockChange, error) {
		return factory.Lock{}, factory.LockChange{}, err
	}
	repos, err := yums(req.Image, s.Archives)
	if err != nil {
		return fail(err)
	}
	warnings, err := pinnedKeys(req.Image, s.Now())
	if err != nil {
		return fail(err)
	}
	for _, text := range warnings {
		s.warn(req.Image.Name, text)
	}
	if err := s.locate(ctx, repos); err != nil {
		return fail(err)
	}
	res, err := s.ask(ctx, "lock", req.Image, repos, checked(req))
	if err != nil {
		return fail(err)
	}
	states, err := repomds(res.Output, repos, s.Now())
	if err != nil {
		return fail(err)
	}
	lock, err := s.assemble(req, repos, states, res.Output["result.json"])
	if err != nil {
		return fail(err)
	}
	if err := forward(req, yumMoments(repos, states), lock, compareEVR); err != nil {
		return fail(err)
	}
	change := lock.Since(req.Old)
	if err := nameErrata(req, repos, res.Output, &change); err != nil {
		s.warn(req.Image.Name, "the CVE ids of this update are incomplete: "+err.Error())
	}
	return lock, change, s.remember(req, lock, yumRecords(repos, states))
}

// checked are the packages whose bytes and signatures need not be looked at again, as SHA-256 → what they are: the same keys vouched
// for them before. A child has all keys of its parent.
func checked(req Request) map[string]string {
	have := map[string]string{}
	note := func(lock *factory.Lock) {
		for _, lp := range lock.Platforms {
			for _, p := range lp.Packages {
				have[p.SHA256.Hex()] = p.Name + "-" + p.Version + "." + p.Arch
			}
		}
	}
	if req.Old != nil && req.Old.Definition == req.Definition {
		note(req.Old)
	}
	if req.Parent != nil {
		note(req.Parent)
	}
	return have
}

// dnfRequest is what solve_dnf.py reads.
type dnfRequest struct {
	Ask        string            `json:"ask"`
	Releasever string            `json:"releasever"`
	PlatformID string            `json:"platformId"`
	Include    []string          `json:"include"`
	Exclude    []string          `json:"exclude"`
	Modules    []string          `json:"modules"`
	Have       map[string]string `json:"have"`
	Platforms  []dnfPlatform     `json:"platforms"`
}

type dnfPlatform struct {
	Name         string          `json:"name"`
	Machine      string          `json:"machine"`
	Repositories []dnfRepository `json:"repositories"`
}

type dnfRepository struct {
	ID       string   `json:"id"`
	Archive  string   `json:"archive"`
	Root     string   `json:"root"`
	URL      string   `json:"url"`
	Unsigned bool     `json:"unsigned,omitempty"`
	Only     []string `json:"only,omitempty"`
	Secrets  []string `json:"secrets,omitempty"`
}

// ask runs solve_dnf.py: "lock", or "advisories", which only reads the repositories.
func (s dnf) ask(ctx context.Context, what string, img factory.Image, repos []yum, have map[string]string) (factory.StepResult, error) {
	r := dnfRequest{
		Ask: what, Releasever: img.Distro.Version(), PlatformID: platformIDs[img.Distro.Family] + img.Distro.Release,
		Include: list(img.Packages.Include), Exclude: list(img.Packages.Exclude), Modules: list(img.Packages.Modules), Have: have,
	}
	secrets := map[string]string{}
	for _, y := range repos {
		if n := len(r.Platforms); n == 0 || r.Platforms[n-1].Name != y.platform.Architecture {
			r.Platforms = append(r.Platforms, dnfPlatform{Name: y.platform.Architecture, Machine: y.platform.Machine()})
		}
		p := &r.Platforms[len(r.Platforms)-1]
		p.Repositories = append(p.Repositories, dnfRepository{
			ID: y.id(), Archive: y.ID, Root: y.root, URL: y.url(), Unsigned: y.UnsignedMetadata, Only: y.Only, Secrets: s.secrets(y.ID, secrets),
		})
	}
	b, err := json.Marshal(r)
	if err != nil {
		return factory.StepResult{}, err
	}
	files := map[string]factory.File{
		path.Join(inDir, "solve_dnf.py"): {Data: solveDNF},
		path.Join(inDir, "check_rpm.py"): {Data: checkRPM},
		path.Join(inDir, "request.json"): {Data: b},
	}
	for i, k := range img.Keys {
		files[path.Join(inDir, "keys", keyName(i))] = factory.File{Data: []byte(k.Armored)}
	}
	res, err := s.Runner.Run(ctx, factory.Step{
		Name: what + " " + img.Name, Image: img.Name, Step: factory.StepResolve, Root: s.Toolbox,
		Args:  []string{"/usr/bin/python3", "-I", "-B", path.Join(inDir, "solve_dnf.py"), inDir, outDir, workDir, secretDir},
		Files: files, Secrets: secrets, Output: outDir, Tmpfs: []string{workDir}, Network: true, Fresh: true,
	})
	if err == nil && res.Exit != 0 {
		err = dnfFault{img, repos, s.Entitlements}.explain(res)
	}
	return res, err
}

// secrets adds the files of an archive's entitlement to all, and names them as the script does.
func (s Solver) secrets(archive string, all map[string]string) (names []string) {
	e := s.Entitlements[archive]
	for name, file := range map[string]string{"ca.pem": e.CA, "cert.pem": e.Cert, "key.pem": e.Key} {
		if file != "" {
			all[path.Join(secretDir, archive, name)] = file
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func list(names []string) []string { return append([]string{}, names...) }

// assemble makes the lock from dnf's answer.
func (s dnf) assemble(req Request, repos []yum, states []repomdState, answer []byte) (factory.Lock, error) {
	lock := factory.Lock{
		Schema: factory.LockSchema, Image: req.Image.Name, Definition: req.Definition,
		Tools: maps.Clone(req.Tools), Roles: maps.Clone(req.Roles),
	}
	all, err := parseAnswer(answer, req.Image.Platforms, repos)
	if err != nil {
		return factory.Lock{}, fmt.Errorf("%s: %w", req.Image.Name, err)
	}
	var newest, fallback time.Time
	replaced := map[string]string{}
	for _, p := range all {
		if err := p.hold(req.Image, repos); err != nil {
			return factory.Lock{}, err
		}
		maps.Copy(replaced, p.replaced)
		lp := factory.LockedPlatform{Platform: p.platform}
		for _, o := range p.offers {
			lp.Packages = append(lp.Packages, o.Package)
			if d := states[o.source].Date; len(repos[o.source].Only) == 0 && d.After(newest) {
				newest = d
			} else if d.After(fallback) {
				fallback = d
			}
		}
		lock.Platforms = append(lock.Platforms, lp)
		if lock.Release == "" || p.release != "" && compareEVR(p.release, lock.Release) < 0 { // a platform may lag behind
			lock.Release = p.release
		}
	}
	for _, name := range slices.Sorted(maps.Keys(replaced)) {
		s.warn(req.Image.Name, fmt.Sprintf("%s: the distribution has replaced %s by %s; say so in the definition", cmp.Or(req.Image.Where.String(), req.Image.Name), name, replaced[name]))
	}
	if newest.IsZero() { // everything comes from limited repositories
		newest = fallback
	}
	latest := slices.MaxFunc(states, func(a, b repomdState) int { return a.Date.Compare(b.Date) })
	err = settle(req, &lock, newest, latest.Date)
	return lock, err
}
