package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/definition"
	"github.com/imagefactory/imagefactory/factory/factorytest"
	"github.com/imagefactory/imagefactory/factory/plan"
)

// thousand is what is known of a thousand images that were released an hour ago to a host and did not change, and of what is there.
func thousand(d *desk, host string) (k known, images []factory.Image) {
	k = known{last: map[string]factory.Release{}, written: map[string]definition.Written{}, sources: map[string]factory.Source{}}
	created := d.Now().Add(-time.Hour)
	for i := range 1000 {
		img := factory.Image{Name: fmt.Sprintf("app-%04d", i), Kind: factory.KindBase}
		images = append(images, img)
		k.last[img.Name] = factory.Release{ID: "r-" + img.Name, Image: img.Name, Repository: host + "/" + img.Name, Digest: factory.DigestOf([]byte(img.Name)), Created: created,
			Tag: factory.Tag{Date: factory.DateOf(created), Hash: "1a2b3c4d", Env: factory.Dev}}
		k.written[img.Name] = definition.Written{There: true}
		k.sources[img.Name] = factory.Source{}
	}
	return k, images
}

// A registry that is down is asked a few times and told of once, however many releases there are; the plan is made all the same.
func TestPlanWithoutTheRegistry(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	host := strings.TrimPrefix(server.URL, "http://")
	for _, way := range []string{"it answers with 503", "nobody listens"} {
		if way == "nobody listens" {
			server.Close()
		}
		var seen factorytest.Recorder
		c := d.command(t, map[string]string{"registry": host})
		c.events = seen.Events()
		k, images := thousand(d, host)
		k.presence = c.present(t.Context(), k.last, images)
		warned := seen.Messages(factory.Warned)
		if len(warned) != 1 || !strings.HasPrefix(warned[0], "whether 1000 of 1000 releases are still there cannot be told: the registry stopped answering, and 99") ||
			!strings.Contains(warned[0], " were not looked at: registry "+host) {
			t.Errorf("%s: %q", way, warned)
		}
		var in []plan.Input
		for _, img := range images {
			in = append(in, c.planInput(t.Context(), img, k))
		}
		jobs := plan.Rules{Now: d.Now(), Env: factory.Dev}.Make(in)
		for _, j := range jobs {
			if j.Action != factory.Keep {
				t.Fatalf("%s: %s %s: %s", way, j.Image.Name, j.Action, j.Reason)
			}
		}
		if len(jobs) != 1000 {
			t.Errorf("%s: %d jobs", way, len(jobs))
		}
	}
	if n := requests.Load(); n == 0 || n > 10 {
		t.Errorf("%d requests to a registry that is down", n)
	}
}

// What the registry says of one release does not depend on what it says of others.
func TestPresence(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	k, images := thousand(d, d.registry)
	there, moved := d.release(t, "debian-12", time.Hour), d.release(t, "debian-13", time.Hour)
	moved.Digest = there.Digest
	k.last["debian-12"], k.last["debian-13"] = there, moved
	odd := k.last["app-0001"]
	odd.Repository = d.registry + "/no such repository"
	k.last["app-0001"] = odd
	images = append(images[:2:2], factory.Image{Name: "debian-12"}, factory.Image{Name: "debian-13"}, factory.Image{Name: "never released"})
	var seen factorytest.Recorder
	c := d.command(t, nil)
	c.events = seen.Events()
	k.presence = c.present(t.Context(), k.last, images)
	if len(k.presence) != 2 || !k.presence["app-0000"].gone || k.presence["debian-13"].err == nil {
		t.Errorf("%+v", k.presence)
	}
	if in := c.planInput(t.Context(), images[3], k); in.Err == nil || !strings.Contains(in.Err.Error(), fmt.Sprintf("stands for %s, and %s was released", d.digest(t, "debian-13"), there.Digest)) {
		t.Errorf("%v", in.Err)
	}
	if warned := seen.Messages(factory.Warned); len(warned) != 1 || !strings.HasPrefix(warned[0], "whether "+odd.Tagged()+" is still there cannot be told: ") {
		t.Errorf("%q", warned)
	}
	if none := c.present(t.Context(), nil, images); none != nil {
		t.Errorf("of nothing: %v", none)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	if _, err := c.known(ctx, definition.Set{Images: images}, nil, false, []string{"debian-12"}); err == nil {
		t.Error("a plan was made that nobody wants any more")
	}
}

// digest is what a fixture's release of an image is.
func (d *desk) digest(t *testing.T, image string) factory.Digest {
	t.Helper()
	c := d.command(t, nil)
	db, err := c.store(t.Context())
	must(t, err)
	r, err := db.Latest(t.Context(), image)
	must(t, err)
	return r.Digest
}

// Locks are read side by side: each is its own image's, and what is wrong with one is said of that one.
func TestReadLocks(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, nil)
	must(t, os.WriteFile(filepath.Join(d.dir, "baseimages", "debian-13", "lock.json"), []byte("{"), 0o644))
	img := func(name string) factory.Image { return factory.Image{Name: name} }
	just := map[string]lockResult{"just": {Lock: factory.Lock{Image: "just"}}, "failed": {Err: errPartial}}
	images := []factory.Image{img("debian-12"), img("debian-13"), img("none"), img("just"), img("failed")}
	k := known{locks: just, written: c.readLocks(images, just)}
	for image, want := range map[string]string{"debian-12": "", "debian-13": "baseimages/debian-13/lock.json", "none": "none has no lock", "just": "", "failed": errPartial.Error()} {
		lock, err := k.lock(img(image))
		switch {
		case want == "" && (err != nil || lock.Image != image):
			t.Errorf("%s: lock of %q, %v", image, lock.Image, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", image, err, want)
		}
	}
}

func TestLastFailures(t *testing.T) {
	t.Parallel()
	job := func(image string, action factory.Action, err string) factory.RunJob {
		return factory.RunJob{Image: image, Action: action, Error: err}
	}
	failed := lastFailures([]factory.Run{
		{ID: "3", Jobs: []factory.RunJob{job("a", factory.Hold, ""), job("b", factory.Keep, ""), job("c", factory.Yield, "")}},
		{ID: "2", Jobs: []factory.RunJob{job("a", factory.Rebuild, "second"), job("b", factory.Rebuild, "second")}},
		{ID: "1", Jobs: []factory.RunJob{job("a", factory.Rebuild, "first"), job("c", factory.Rebuild, "first"), job("d", factory.Rebuild, "")}},
	})
	for image, want := range map[string]string{"a": "second", "b": "", "c": "first", "d": "", "e": ""} {
		got := ""
		if f := failed[image]; f != nil {
			got = f.Error
		}
		if got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}
