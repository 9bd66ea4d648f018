package system_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// runs returns the recorded runs, newest first.
func (p plant) runs(t testing.TB) (all []factory.Run) {
	t.Helper()
	p.json(t, &all, "runs")
	return all
}

func settingUp(e factory.Event) bool {
	return e.Step == factory.StepBuild && strings.HasPrefix(e.Message, "Setting up ")
}

// A night is disturbed in every way: by a second one, by Ctrl-C, by kill -9 in each step and before each thing that it
// publishes. Whatever has a tag is whole and signed at any time, nothing keeps running, and the last night completes the work.
func TestDisturbedNights(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	p.add(t, "debian-13", "netbase") // so that nothing comes out of a cache
	p.ok(t, "lock", "debian-13")
	gitIn(t, p.Dir, "commit", "-qam", "debian-13: netbase")
	repository := p.Addr + "/debian-13"

	t.Run("two at once, and Ctrl-C", func(t *testing.T) {
		one := p.start(t, "nightly")
		one.await(t, "build", settingUp)
		began := time.Now()
		two := p.exits(t, 7, "nightly")
		if !strings.Contains(two.said(), "factory is held by factory nightly, process ") || !strings.Contains(two.said(), "kill ") {
			t.Errorf("the second one said:\n%s", two.said())
		}
		one.signal(t, syscall.SIGINT)
		r := one.within(t, time.Minute)
		if r.Exit != 130 || !strings.Contains(r.said(), "interrupted") {
			t.Errorf("exit %d: %s", r.Exit, r.said())
		}
		t.Logf("both were over after %.1f s", time.Since(began).Seconds())
		if pids := p.daemons(t); len(pids) != 0 {
			t.Errorf("buildkitd still runs: %v", pids)
		}
		if run := p.runs(t)[0]; run.State != factory.Interrupted || !strings.Contains(run.Verdict, "failed (debian-13)") || run.Finished == nil {
			t.Errorf("recorded as %+v", run)
		}
	})
	steps := []factory.StepName{"resolve", "build", "harden", "pack", "test", "prove", "scan", "gate", "sign", "publish", "record"}
	for _, step := range steps {
		t.Run("kill -9 in "+string(step), func(t *testing.T) {
			night := p.start(t, "nightly")
			if step == factory.StepBuild {
				night.await(t, "build", settingUp)
			} else {
				night.await(t, string(step), began("debian-13", step))
			}
			night.signal(t, syscall.SIGKILL)
			if r := night.within(t, time.Minute); r.Exit != 128+9 {
				t.Errorf("exit %d", r.Exit)
			}
			p.noDaemon(t)
			p.serve(t)
			if tags := p.sound(t, repository); len(tags) != 0 && step != factory.StepRecord && step != factory.StepPublish {
				t.Errorf("tagged already: %v", tags)
			}
		})
	}
	t.Run("completed, though its scanner is killed", func(t *testing.T) {
		night := p.start(t, "nightly", "--json")
		night.await(t, "pack", began("debian-13", "pack"))
		scanner := night.child(t, "factory-scanner")
		must(t, syscall.Kill(scanner, syscall.SIGSTOP)) // so that it is still at it when it is killed
		night.await(t, "scan", began("debian-13", "scan"))
		night.await(t, "the end of the tests", func(e factory.Event) bool { return e.Kind == factory.Finished && e.Step == factory.StepTest })
		must(t, syscall.Kill(scanner, syscall.SIGKILL))
		r := night.wait(t)
		if r.Exit != 0 || !r.saw(warned("trying again with a new one")) {
			t.Fatalf("exit %d: %s", r.Exit, r.said())
		}
		job := nightOf(t, r).job(t, "debian-13")
		runs := p.runs(t)
		for _, run := range runs[1 : len(steps)+1] {
			if run.State != factory.Interrupted || !strings.Contains(run.Verdict, "is gone; noticed by run ") {
				t.Errorf("run %s: %s %q", run.ID, run.State, run.Verdict)
			}
		}
		p.serve(t)
		tags := p.sound(t, repository)
		if len(tags) != 1 || tags[strings.TrimPrefix(job.Ref, repository+":")] != string(job.Digest) {
			t.Errorf("tags %v, released %s as %s", tags, job.Digest, job.Ref)
		}
		if r := p.ok(t, "reproduce", "debian-13"); !strings.Contains(r.Stdout, string(job.Digest)+" both times") {
			t.Errorf("%s", r.Stdout)
		}
	})
}

// Killed before any single write to a registry, a run leaves no tag on anything that is not whole and signed.
func TestKilledWhilePublishing(t *testing.T) {
	p := newPlant(t)
	p.only(t, "debian-13")
	p.serve(t)
	front := newFront(t, "http://"+p.Addr)
	p.Flags = []string{"--registry", front.Addr + "/base"}
	repository := front.Addr + "/base/debian-13"
	for _, moment := range []struct{ what, method, path string }{
		{"the first layer", http.MethodPut, "/blobs/uploads/"},
		{"the image", http.MethodPut, "/manifests/sha256:"},
		{"its signature", http.MethodPut, ".sig"},
		{"its provenance", http.MethodPut, ".att"},
		{"its tag", http.MethodPut, "-dev"},
	} {
		t.Run(moment.what, func(t *testing.T) {
			var night *process
			front.set(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == moment.method && strings.Contains(r.URL.Path, moment.path) && (moment.path[0] != '.' && moment.path[0] != '-' || strings.HasSuffix(r.URL.Path, moment.path)) {
					_ = night.cmd.Process.Signal(syscall.SIGKILL)
					return true
				}
				return false
			})
			night = p.start(t, "nightly")
			if r := night.wait(t); r.Exit != 128+9 {
				t.Fatalf("exit %d\n%s", r.Exit, r.said())
			}
			front.set(nil)
			p.noDaemon(t)
			if tags := p.tags(t, repository); len(tags) != 0 {
				t.Errorf("tagged: %v", tags)
			}
		})
	}
	job := nightOf(t, p.ok(t, "nightly", "--json")).job(t, "debian-13")
	if tags := p.sound(t, repository); len(tags) != 1 || job.Ref == "" {
		t.Errorf("%v, %+v", tags, job)
	}
}
