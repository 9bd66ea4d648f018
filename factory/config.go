package factory

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Config is the OCI image configuration that consumers see.
type Config struct {
	User       string   `json:"user"` // 65532:65532
	Env        []string `json:"env,omitempty"`
	Workdir    string   `json:"workdir,omitempty"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	StopSignal string   `json:"stopSignal,omitempty"`
	// Ports, Volumes, Healthcheck and Shell are what a child's Dockerfile, or one further down, sets. No definition says them.
	Ports       []string          `json:"ports,omitempty"`   // sorted: 8080/tcp
	Volumes     []string          `json:"volumes,omitempty"` // sorted
	Healthcheck *Healthcheck      `json:"healthcheck,omitempty"`
	Shell       []string          `json:"shell,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

// Healthcheck is how a runtime finds out whether a container is well.
type Healthcheck struct {
	Test        []string      `json:"test"` // CMD or CMD-SHELL and what to run, or NONE
	Interval    time.Duration `json:"interval,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	StartPeriod time.Duration `json:"startPeriod,omitempty"`
	Retries     int           `json:"retries,omitempty"`
}

// ParseConfig reads what an image's configuration file says of running it.
func ParseConfig(file []byte) (Config, error) {
	var f struct {
		Config struct {
			User, WorkingDir, StopSignal string
			Env, Entrypoint, Cmd, Shell  []string
			Labels                       map[string]string
			ExposedPorts, Volumes        map[string]struct{}
			Healthcheck                  *Healthcheck
		} `json:"config"`
	}
	if err := json.Unmarshal(file, &f); err != nil {
		return Config{}, fmt.Errorf("configuration of an image: %w", err)
	}
	c := f.Config
	return Config{
		User: c.User, Env: c.Env, Workdir: c.WorkingDir, Entrypoint: c.Entrypoint, Cmd: c.Cmd, StopSignal: c.StopSignal, Shell: c.Shell,
		Ports: slices.Sorted(maps.Keys(c.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(c.Volumes)), Healthcheck: c.Healthcheck, Labels: c.Labels,
	}, nil
}

// NamesImage reports whether a label says what one image is, and nothing that holds for its children too.
func NamesImage(label string) bool {
	rest, standard := strings.CutPrefix(label, "org.opencontainers.image.")
	return strings.HasPrefix(label, "io.imagefactory.") || standard && slices.Contains([]string{"title", "description", "created", "base.name", "base.digest"}, rest)
}

// Over is the configuration of a child: what its own definition says wins over what below has, which is its parent's release or what a
// Dockerfile made of that. Variables and labels are taken one by one.
func (i Image) Over(below Config) Config {
	c := i.Config
	said := func(key string) bool { return slices.Contains(i.Said, key) }
	for key, own := range map[string]*string{"user": &c.User, "workdir": &c.Workdir, "stopSignal": &c.StopSignal} {
		was := map[string]string{"user": below.User, "workdir": below.Workdir, "stopSignal": below.StopSignal}[key]
		if !said(key) && was != "" {
			*own = was
		}
	}
	// What is empty below may have been emptied: a new entrypoint takes the command away.
	if !said("cmd") {
		c.Cmd = below.Cmd
	}
	if !said("entrypoint") {
		c.Entrypoint = below.Entrypoint
	}
	c.Ports, c.Volumes, c.Healthcheck, c.Shell = below.Ports, below.Volumes, below.Healthcheck, below.Shell
	env := map[string]string{}
	for _, e := range c.Env {
		env[variable(e)] = e
	}
	for _, e := range below.Env {
		if !said("env." + variable(e)) {
			env[variable(e)] = e
		}
	}
	c.Env = slices.Sorted(maps.Values(env))
	labels := maps.Clone(c.Labels)
	for k, v := range below.Labels {
		if !said("labels." + k) {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[k] = v
		}
	}
	c.Labels = labels
	return c
}

func variable(e string) string { name, _, _ := strings.Cut(e, "="); return name }
