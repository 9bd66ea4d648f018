package system_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// service is a child that a Dockerfile makes, and worker a child of that: what runs there, only the Dockerfile says.
var service = map[string]string{
	"service/image.yaml": `from: debian-12
summary: A service that a Dockerfile builds
dockerfile: Dockerfile
users:
  - {name: app, uid: 1000, gid: 1000, home: /home/app, shell: /usr/sbin/nologin}
config:
  env: {SAID_BY: definition}
`,
	"service/Dockerfile": `FROM debian-12 AS made
USER root
ARG SHOUT=HELLO
RUN mkdir /made && printf '%s\n' "$SHOUT" >/made/word
FROM debian-12
COPY --from=made /made /srv/service
COPY --chmod=0755 serve /srv/bin/serve
ENV SAID_BY=dockerfile WORD=/srv/service/word PATH=/srv/bin:$PATH
LABEL com.example.tier=back
EXPOSE 8443 53/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=2s --retries=3 CMD ["serve", "--check"]
SHELL ["/bin/bash", "-c"]
USER 1000:1000
WORKDIR /home/app
ENTRYPOINT ["serve"]
CMD ["--all"]
`,
	"service/files/serve": "#!/bin/bash\ncat \"$WORD\"\n",
	"service/tests.yaml": `commands:
  - name: runs as nonroot
    run: [id, -un]
    stdout: '^app\n$'
  - name: serves what the Dockerfile made, with its environment
    run: [serve]
    stdout: '^HELLO\n$'
`,
	"worker/image.yaml": "from: service\nsummary: The same service, for work in the background\nconfig:\n  env: {QUEUE: night}\n  cmd: [--queue]\n",
	"worker/tests.yaml": "nonRoot: true\n",
}

// settle puts images into a repository, with their owners.
func (p plant) settle(t testing.TB, files map[string]string) {
	t.Helper()
	put := func(name, text string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(p.Dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644))
	}
	for name, text := range files {
		put("baseimages/"+name, text)
		image, file, _ := strings.Cut(name, "/")
		if file != "image.yaml" {
			continue
		}
		for list, line := range map[string]string{"baseimages/owners.yaml": "  %s: platform-linux\n", "CODEOWNERS": "/baseimages/%s/ @example/platform-linux\n"} {
			b, err := os.ReadFile(filepath.Join(p.Dir, list))
			must(t, err)
			put(list, string(b)+fmt.Sprintf(line, image))
		}
	}
}

// servesAs holds what was released, and what consumers get, against what Dockerfile and definitions say.
func (p plant) servesAs(t *testing.T, parent factory.Release) {
	t.Helper()
	want := factory.Config{
		User: "1000:1000", Workdir: "/home/app", Entrypoint: []string{"serve"}, Cmd: []string{"--all"}, StopSignal: "SIGINT", Shell: []string{"/bin/bash", "-c"},
		Env:   []string{"LANG=C.UTF-8", "PATH=/srv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SAID_BY=definition", "WORD=/srv/service/word"},
		Ports: []string{"53/udp", "8443/tcp"}, Volumes: []string{"/data"}, Labels: map[string]string{"com.example.tier": "back"},
		Healthcheck: &factory.Healthcheck{Test: []string{"CMD", "serve", "--check"}, Interval: 30 * time.Second, Timeout: 2 * time.Second, Retries: 3},
	}
	below := parent
	for _, image := range []string{"service", "worker"} {
		r := p.release(t, image)
		if r.Parent == nil || r.Parent.Digest != below.Digest || r.Decision.Digest != r.Digest {
			t.Fatalf("%s is built on %+v", image, r.Parent)
		}
		if image == "worker" { // it has all from the release that it is built on, and its own words
			want.Env, want.Cmd = append([]string{want.Env[0], want.Env[1], "QUEUE=night"}, want.Env[2:]...), []string{"--queue"}
		}
		if got := r.Artifact.Platforms[0].Config; !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v\nwant\n%+v", image, *got, want)
		}
		raw, err := pull(t, r).RawConfigFile()
		must(t, err)
		pulled, err := factory.ParseConfig(raw)
		must(t, err)
		if title := pulled.Labels["org.opencontainers.image.title"]; title != image {
			t.Errorf("%s is titled %s", image, title)
		}
		if pulled.Labels = want.Labels; !reflect.DeepEqual(pulled, want) {
			t.Errorf("%s in the registry: %+v", image, pulled)
		}
		if out := p.ok(t, "show", image).Stdout; !strings.Contains(out, "runs serve "+want.Cmd[0]+" as 1000:1000 in /home/app\n") || !strings.Contains(out, "exposes 53/udp, 8443/tcp\n") {
			t.Errorf("show:\n%s", out)
		}
		if out := p.ok(t, "sbom", image).Stdout; !strings.Contains(out, "pkg:deb/debian/base-files@") {
			t.Errorf("%s: its SBOM lacks the parent's packages", image)
		}
		below = r
	}
}
