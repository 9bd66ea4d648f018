package factory_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// What a child's own definition says wins, then comes what is below it; variables and labels one by one.
func TestConfigOverAnother(t *testing.T) {
	t.Parallel()
	check := &factory.Healthcheck{Test: []string{"CMD", "true"}}
	below := factory.Config{User: "2:2", Env: []string{"PATH=/app:/bin", "A=2", "B=3"}, Cmd: []string{"serve"}, Entrypoint: []string{"/app"}, Workdir: "/app", StopSignal: "SIGINT",
		Labels: map[string]string{"team": "docker", "x": "y"}, Ports: []string{"53/udp"}, Volumes: []string{"/data"}, Healthcheck: check, Shell: []string{"/bin/sh", "-c"}}
	img := factory.Image{Config: factory.Config{User: "3:3", Env: []string{"A=9", "C=4", "PATH=/bin"}, Cmd: []string{"bash"}, Workdir: "/home", Labels: map[string]string{"team": "ours", "old": "kept"}},
		Said: []string{"env.A", "env.C", "labels.team", "user"}}
	want := factory.Config{User: "3:3", Env: []string{"A=9", "B=3", "C=4", "PATH=/app:/bin"}, Cmd: []string{"serve"}, Entrypoint: []string{"/app"}, Workdir: "/app", StopSignal: "SIGINT",
		Labels: map[string]string{"team": "ours", "x": "y", "old": "kept"}, Ports: []string{"53/udp"}, Volumes: []string{"/data"}, Healthcheck: check, Shell: []string{"/bin/sh", "-c"}}
	if got := img.Over(below); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	// A word that takes something away is a word too, also when it says what the parent says.
	img = factory.Image{Config: factory.Config{User: "1:1", Workdir: "/home"}, Said: []string{"cmd", "entrypoint", "workdir"}}
	if got := img.Over(below); got.Cmd != nil || got.Entrypoint != nil || got.Workdir != "/home" || got.User != "2:2" {
		t.Errorf("%+v", got)
	}
	// A Dockerfile's entrypoint takes away the command that is below it.
	img = factory.Image{Config: factory.Config{User: "1:1", Cmd: []string{"bash"}}}
	if got := img.Over(factory.Config{Entrypoint: []string{"/app"}}); got.Cmd != nil || got.User != "1:1" || got.Labels != nil {
		t.Errorf("%+v", got)
	}
	if got := img.Over(factory.Config{Labels: map[string]string{"a": "b"}}); got.Labels["a"] != "b" || img.Config.Labels != nil {
		t.Errorf("%+v, and the definition %+v", got, img.Config)
	}
}

func TestParseConfig(t *testing.T) {
	t.Parallel()
	got, err := factory.ParseConfig([]byte(`{"architecture":"amd64","config":{"User":"1:1","ExposedPorts":{"8443/tcp":{},"53/udp":{}},"Env":["A=1"],"Entrypoint":["/e"],"Cmd":["c"],"Volumes":{"/b":{},"/a":{}},
		"WorkingDir":"/w","Labels":{"l":"m"},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD","x"],"Interval":30000000000,"Timeout":2,"StartPeriod":3,"Retries":4},"Shell":["/bin/sh"]}}`))
	want := factory.Config{User: "1:1", Env: []string{"A=1"}, Workdir: "/w", Entrypoint: []string{"/e"}, Cmd: []string{"c"}, StopSignal: "SIGINT", Ports: []string{"53/udp", "8443/tcp"}, Volumes: []string{"/a", "/b"},
		Healthcheck: &factory.Healthcheck{Test: []string{"CMD", "x"}, Interval: 30 * time.Second, Timeout: 2, StartPeriod: 3, Retries: 4}, Shell: []string{"/bin/sh"}, Labels: map[string]string{"l": "m"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if empty, err := factory.ParseConfig([]byte(`{}`)); err != nil || !reflect.DeepEqual(empty, factory.Config{}) {
		t.Errorf("%+v, %v", empty, err)
	}
	if _, err := factory.ParseConfig([]byte("no")); err == nil {
		t.Error("no JSON is accepted")
	}
}

func TestLabelsOfOneImage(t *testing.T) {
	t.Parallel()
	labels := []string{"io.imagefactory.lock", "org.opencontainers.image.title", "org.opencontainers.image.base.name", "org.opencontainers.image.vendor", "title", "team"}
	if got := slices.DeleteFunc(labels, factory.NamesImage); !slices.Equal(got, []string{"org.opencontainers.image.vendor", "title", "team"}) {
		t.Errorf("%q", got)
	}
}

func TestConfigOfPlatform(t *testing.T) {
	t.Parallel()
	amd, arm := factory.Platform{OS: "linux", Architecture: "amd64"}, factory.Platform{OS: "linux", Architecture: "arm64"}
	b := factory.Built{Configs: map[factory.Platform]factory.Config{arm: {User: "arm"}}}
	b.Job.Image.Config.User = "defined"
	if b.Config(amd).User != "defined" || b.Config(arm).User != "arm" {
		t.Errorf("%+v %+v", b.Config(amd), b.Config(arm))
	}
}
