package system_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/tests/forge"
)

const dependentsYAML = `dependents:
  - {name: api, repository: payments/api, image: debian-13, env: dev, owner: %[1]s, canary: true, tell: {how: webhook, server: hooks, path: api}}
  - {name: web, repository: shop/web, image: debian-13, env: dev, owner: %[1]s, tell: {how: gitlab-pipeline, server: lab, branch: main}}
  - {name: slow, repository: shop/slow, image: debian-13, env: dev, owner: %[1]s, tell: {how: webhook, server: silent, path: slow}}
`

// town is who follows debian-13: a canary with a webhook, a pipeline, and a server that accepts at first and never answers.
type town struct {
	hooks, silent *forge.Hook
	lab           *forge.GitLab
	token         string // file with the secret of the hooks
	early         atomic.Int64
}

// follow makes dependents follow debian-13, through servers on loopback.
func (p plant) follow(t *testing.T) *town {
	t.Helper()
	const secret = "0123456789abcdef0123456789abcdef"
	w := &town{hooks: &forge.Hook{}, silent: &forge.Hook{}, lab: &forge.GitLab{Token: secret, Projects: map[string][]string{"shop/web": {"main"}}}, token: filepath.Join(t.TempDir(), "token")}
	w.hooks.Verify = func(http.Header, []byte) error { // the canary is told: has anybody else been?
		w.early.Add(int64(len(w.lab.Requests()) + len(w.silent.Requests())))
		return nil
	}
	w.silent.Next(forge.Silent)
	servers := "trigger-timeout: 2s\nservers:\n"
	for id, h := range map[string]http.Handler{"hooks": w.hooks, "lab": w.lab, "silent": w.silent} {
		ref := "env:DEPENDENTS_SECRET"
		if id == "hooks" {
			ref = "file:" + w.token
		}
		servers += fmt.Sprintf("  %s: {url: %q, token: %q}\n", id, forge.Serve(t, h), ref)
	}
	owner, err := os.ReadFile(filepath.Join(p.Dir, "baseimages", "owners.yaml"))
	must(t, err)
	_, team, _ := strings.Cut(string(owner), "\n  debian-13: ")
	team, _, _ = strings.Cut(team, "\n")
	must(t, os.WriteFile(filepath.Join(p.Dir, "baseimages", "dependents.yaml"), fmt.Appendf(nil, dependentsYAML, team), 0o644))
	must(t, os.WriteFile(filepath.Join(p.Dir, "factory.yaml"), []byte(servers), 0o644))
	must(t, os.Setenv("DEPENDENTS_SECRET", secret))
	t.Cleanup(func() { os.Unsetenv("DEPENDENTS_SECRET") })
	return w
}

// triggers are all of them, by dependent: each has one.
func (p plant) triggers(t testing.TB) map[string]factory.Trigger {
	t.Helper()
	var all []factory.Trigger
	p.json(t, &all, "triggers", "list")
	by := map[string]factory.Trigger{}
	for _, one := range all {
		by[one.Dependent] = one
	}
	if len(all) != 3 || len(by) != 3 {
		t.Fatalf("triggers: %+v", all)
	}
	return by
}

// Nights are killed between publish and record, and between record and the first delivery. The next one picks up: everybody is told
// once, the canary first, and a server that never answers costs its time-out, and nobody his release.
func TestDependentsInDisturbedNights(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	p.serve(t)
	front := newFront(t, "http://"+p.Addr)
	p.Flags = []string{"--registry", front.Addr + "/base"}
	w := p.follow(t)

	var night *process
	front.set(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "-dev") {
			return false
		}
		r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", p.Addr
		if resp, err := http.DefaultTransport.RoundTrip(r); err != nil || resp.StatusCode != http.StatusCreated { // the tag is there
			t.Errorf("%+v, %v", resp, err)
		}
		night.signal(t, syscall.SIGKILL) // and nobody knows
		return true
	})
	night = p.start(t, "nightly")
	if r := night.wait(t); r.Exit != 128+9 {
		t.Fatalf("exit %d\n%s", r.Exit, r.said())
	}
	front.set(nil)
	p.noDaemon(t)
	repository := front.Addr + "/base/debian-13"
	tagged := p.tags(t, repository)
	if p.exits(t, 2, "show", "debian-13"); len(tagged) != 1 {
		t.Errorf("published and not recorded: %v", tagged)
	}

	// The secret is read when the outbox was, and before anybody is told.
	must(t, syscall.Mkfifo(w.token, 0o600))
	night = p.start(t, "nightly")
	var pipe *os.File
	eventually(t, "the secret to be read", patience, func() bool {
		var err error
		pipe, err = os.OpenFile(w.token, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	night.signal(t, syscall.SIGKILL)
	if r := night.wait(t); r.Exit != 128+9 {
		t.Fatalf("exit %d\n%s", r.Exit, r.said())
	}
	must(t, pipe.Close())
	must(t, os.Remove(w.token))
	must(t, os.WriteFile(w.token, []byte("fedcba9876543210fedcba9876543210\n"), 0o600))
	p.noDaemon(t)
	for name, one := range p.triggers(t) {
		if one.State != factory.TriggerWaiting || one.Attempts != 0 {
			t.Errorf("%s: %+v", name, one)
		}
	}
	if n := len(w.hooks.Requests()) + len(w.lab.Requests()) + len(w.silent.Requests()); n != 0 {
		t.Fatalf("%d were told", n)
	}
	release := p.release(t, "debian-13")

	r := p.ok(t, "nightly", "--json")
	if job := nightOf(t, r).job(t, "debian-13"); !kept(job) || r.Took > 25*time.Second {
		t.Errorf("%+v in %s", job, r.Took)
	}
	all := p.triggers(t)
	if all["api"].State != factory.TriggerDelivered || all["web"].State != factory.TriggerDelivered || w.early.Load() != 0 {
		t.Errorf("%d were told before the canary: %+v", w.early.Load(), all)
	}
	if slow := all["slow"]; slow.State != factory.TriggerWaiting || slow.Attempts != 1 || !strings.Contains(slow.Answer, "no answer within 2s") {
		t.Errorf("%+v", slow)
	}
	if tags := p.sound(t, repository); len(tags) != 1 || tags[release.Tag.String()] != tagged[release.Tag.String()] || p.release(t, "debian-13").ID != release.ID {
		t.Errorf("%v, released %s", tags, release.Tag)
	}
	eventually(t, "the next attempt to be due", time.Minute, func() bool { return now().After(all["slow"].Due) })
	r = p.ok(t, "nightly")
	if !strings.Contains(r.said(), "triggers: 1 delivered, 0 waiting, 0 dead") {
		t.Errorf("%s", r.said())
	}
	keys := map[string]int{w.lab.Pipelines()[0].Variables["FACTORY_MESSAGE_KEY"]: len(w.lab.Pipelines())}
	for _, h := range []*forge.Hook{w.hooks, w.silent} {
		for key, n := range h.Counts() {
			keys[key] += n
		}
	}
	for name, one := range p.triggers(t) {
		if one.State != factory.TriggerDelivered || keys[one.Key] != 1 || one.Ref != release.Ref() {
			t.Errorf("%s was told %d times: %+v", name, keys[one.Key], one)
		}
	}
	if len(keys) != 3 {
		t.Errorf("keys %v", keys)
	}
}
