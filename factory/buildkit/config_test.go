package buildkit

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/imagefactory/imagefactory/factory"
)

func configFile(t *testing.T, c ocispec.ImageConfig) []byte {
	t.Helper()
	b, err := json.Marshal(ocispec.Image{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The definition's own word, else the Dockerfile's, else the parent's; and what a label says of the parent alone is not the child's.
func TestConfigOfChild(t *testing.T) {
	t.Parallel()
	img := factory.Image{Name: "app", From: "debian-12", Config: factory.Config{User: "1:1", Env: []string{"A=own", "PATH=/bin"}}, Said: []string{"env.A"}}
	labels := map[string]string{"io.imagefactory.lock": "parent's", "org.opencontainers.image.title": "debian-12", "team": "parent's"}
	parent := configFile(t, ocispec.ImageConfig{User: "1:1", Env: []string{"A=1", "PATH=/bin", "UP=1"}, Cmd: []string{"bash"}, Labels: labels, Volumes: map[string]struct{}{"/data": {}}})
	k := &child{batch: batch{Locked: factory.Locked{Job: factory.Job{Image: img}}}, config: parent}
	got, err := k.configured()
	want := factory.Config{User: "1:1", Env: []string{"A=own", "PATH=/bin", "UP=1"}, Cmd: []string{"bash"}, Labels: map[string]string{"team": "parent's"}, Volumes: []string{"/data"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v, %v", got, want, err)
	}
	k.Job.Image.Dockerfile = "Dockerfile"
	made := map[string]string{"io.imagefactory.lock": "parent's", "org.opencontainers.image.title": "App", "team": "app"}
	k.image = configFile(t, ocispec.ImageConfig{User: "app", Env: []string{"A=2", "PATH=/app:/bin", "UP=1"}, Entrypoint: []string{"/app"}, Labels: made, Volumes: map[string]struct{}{"/data": {}, "/logs": {}}})
	got, err = k.configured()
	want = factory.Config{User: "app", Env: []string{"A=own", "PATH=/app:/bin", "UP=1"}, Entrypoint: []string{"/app"}, Labels: map[string]string{"team": "app", "org.opencontainers.image.title": "App"}, Volumes: []string{"/data", "/logs"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v, %v", got, want, err)
	}
}

func TestConfigOfChildIsRefused(t *testing.T) {
	t.Parallel()
	fine := configFile(t, ocispec.ImageConfig{User: "1:1"})
	for name, c := range map[string]struct {
		parent, made []byte
		says         string
	}{
		"no parent's":  {[]byte("no"), fine, "parent of app"},
		"no result":    {fine, []byte("no"), "Dockerfile of app"},
		"root":         {fine, configFile(t, ocispec.ImageConfig{User: "root:app"}), `baseimages/app/Dockerfile: app would run as root: its user is "root:app"`},
		"root's uid":   {fine, configFile(t, ocispec.ImageConfig{User: "00:5"}), `"00:5"`},
		"nobody's uid": {fine, configFile(t, ocispec.ImageConfig{User: ":5"}), `":5"`},
	} {
		k := &child{batch: batch{Locked: factory.Locked{Job: factory.Job{Image: factory.Image{Name: "app", From: "debian-12", Dockerfile: "Dockerfile", Config: factory.Config{User: "1:1"}}}}}, config: c.parent, image: c.made}
		_, err := k.configured()
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(name, "root") && !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
