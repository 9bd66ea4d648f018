package main

import (
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/pipeline"
)

func TestOutcomesCountEveryControl(t *testing.T) {
	t.Parallel()
	var all []factory.ControlOutcome
	for _, o := range []factory.Outcome{factory.Applied, factory.NotApplicable, factory.Applied, factory.Exempt, factory.Already, factory.Failed} {
		all = append(all, factory.ControlOutcome{Outcome: o})
	}
	if got, want := outcomes(all), "2 applied, 1 already, 1 not applicable, 1 exempt, 1 failed, of 6"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := outcomes(nil); got != "none, of 0" {
		t.Error(got)
	}
}

func change(packages []factory.PackageChange, other ...string) lockResult {
	return lockResult{Change: factory.LockChange{Image: "debian-12", Packages: packages, Other: other}}
}

func TestChangeTexts(t *testing.T) {
	t.Parallel()
	bash := factory.PackageChange{Name: "bash", Old: "1", New: "2", CVEs: []string{"CVE-2026-2", "CVE-2026-1"}}
	added, removed := factory.PackageChange{Name: "new", New: "1"}, factory.PackageChange{Name: "gone", Old: "1"}
	rebuilt := factory.PackageChange{Name: "same", Old: "1", New: "1"}
	advised := change([]factory.PackageChange{{Name: "a", Old: "1", New: "2", CVEs: []string{"CVE-2026-1", "CVE-2026-2"}}})
	advised.Change.Advisories = []factory.Advisory{
		{Source: "a", Vulnerability: "CVE-2026-1", ID: "RHSA-2026:1", Severity: factory.High}, {Source: "a", Vulnerability: "CVE-2026-2", ID: "RHSA-2026:1", Severity: factory.High},
		{Source: "a", Vulnerability: "CVE-2026-2", ID: "RHSA-2026:2"}, {Source: "b", Vulnerability: "CVE-2026-2", ID: "RHSA-2026:3"},
	}
	first := lockResult{Change: factory.LockChange{Image: "debian-12", First: true},
		Lock: factory.Lock{Platforms: []factory.LockedPlatform{{Packages: make([]factory.Package, 2)}, {Packages: make([]factory.Package, 3)}}}}
	for _, c := range []struct {
		name    string
		in      lockResult
		line    string
		message string
	}{
		{"first", first, "first lock, 5 packages", "debian-12: first lock (5 packages)\n"},
		{"one", change([]factory.PackageChange{bash}), "bash 1 → 2; fixes 2 CVEs",
			"debian-12: update 1 package, fixing CVE-2026-1, CVE-2026-2\n\n  bash 1 → 2  fixes CVE-2026-2 CVE-2026-1\n"},
		{"no vulnerability", change([]factory.PackageChange{added, removed}), "new 1 added; gone 1 removed", "debian-12: update 2 packages\n\n  new 1 added\n  gone 1 removed\n"},
		{"other bytes", change([]factory.PackageChange{rebuilt}), "same 1 has other content", "debian-12: update 1 package\n\n  same 1 has other content\n"},
		{"one fix", change([]factory.PackageChange{{Name: "a", Old: "1", New: "2", CVEs: []string{"CVE-2026-1"}}}, "toolbox"), "a 1 → 2; toolbox; fixes 1 CVE",
			"debian-12: update 1 package, fixing CVE-2026-1\n\n  a 1 → 2  fixes CVE-2026-1\n  toolbox\n"},
		{"by advisories", advised, "a 1 → 2; fixes 2 CVEs",
			"debian-12: update 1 package, fixing CVE-2026-1, CVE-2026-2\n\n  a 1 → 2  fixes CVE-2026-1 CVE-2026-2 (RHSA-2026:1, high; RHSA-2026:2)\n"},
		{"no package", change(nil, "definition", "role common"), "definition; role common", "debian-12: definition, role common changed\n\n  definition\n  role common\n"},
		{"many", change([]factory.PackageChange{added, removed, added, removed, added}), "new 1 added; gone 1 removed; new 1 added; 2 more packages",
			"debian-12: update 5 packages\n\n  new 1 added\n  gone 1 removed\n  new 1 added\n  gone 1 removed\n  new 1 added\n"},
	} {
		if got := changeLine(c.in); got != c.line {
			t.Errorf("%s: line %q, want %q", c.name, got, c.line)
		}
		if got := changeMessage(c.in); got != c.message {
			t.Errorf("%s: message %q, want %q", c.name, got, c.message)
		}
	}
	many := change([]factory.PackageChange{{Name: "a", Old: "1", New: "2", CVEs: []string{"CVE-1", "CVE-2", "CVE-3", "CVE-4", "CVE-5"}}})
	if subject, _, _ := strings.Cut(changeMessage(many), "\n"); subject != "debian-12: update 1 package, fixing CVE-1, CVE-2, CVE-3 and 2 more" {
		t.Error(subject)
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0: "0 s ago", 59 * time.Second: "59 s ago", time.Minute: "1 min ago", 59 * time.Minute: "59 min ago", time.Hour: "1 h ago",
		47 * time.Hour: "47 h ago", 48 * time.Hour: "2 d ago", -time.Second: "in the future",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestPrintNight(t *testing.T) {
	t.Parallel()
	out := pipeline.Outcome{Jobs: []factory.RunJob{
		{Image: "a", Action: factory.Rebuild, Ref: "r.invalid/a:20261123-1a2b3c4d-dev", Digest: factory.DigestOf(nil), Steps: []factory.StepTime{{Step: factory.StepBuild, Seconds: 7.25}, {Step: factory.StepSign, Seconds: 0.01}}},
		{Image: "b", Action: factory.Keep, Reason: "nothing changed\x1b[2J"},
		{Image: "c", Action: factory.Rebuild, Error: "no"},
	}}
	d := newDesk(t)
	c := d.command(t, nil)
	must(t, c.printNight("run-1", out, "a verdict"))
	got := d.stdout.String()
	for _, want := range []string{"\na      released  r.invalid/a:20261123-1a2b3c4d-dev  sha256:", "build 7.2 s\n", "\nb      kept", "nothing changed·[2J\n", "\nc      failed "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if !strings.HasSuffix(d.stderr.String(), "a verdict\n") {
		t.Errorf("%q", d.stderr.String())
	}
}

func TestPrintRelease(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	r := d.release(t, "debian-12", time.Hour)
	r.Source.Dirty, r.Source.Commit = true, ""
	r.Artifact.Platforms = []factory.PlatformImage{{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}, Digest: r.Digest, Size: 3 << 19, Unpacked: 1 << 22,
		Layers: []factory.Layer{{Name: "base", Digest: r.Digest, Size: 1 << 20}}, Config: &factory.Config{
			User: "1:1", Workdir: "/app", Entrypoint: []string{"/app"}, Cmd: []string{"--name", "a b"}, Env: []string{"A=1"}, Labels: map[string]string{"team": "x"}, Ports: []string{"80/tcp"}, Volumes: []string{"/a", "/b"},
			StopSignal: "SIGINT", Shell: []string{"/bin/sh", "-c"}, Healthcheck: &factory.Healthcheck{Test: []string{"CMD", "true"}, Interval: 5 * time.Second, Retries: 2}}},
		{Platform: factory.Platform{OS: "linux", Architecture: "arm64"}, Digest: r.Digest, Config: &factory.Config{}}}
	r.Signatures = []factory.Signature{{Subject: r.Digest}, {Subject: r.Digest, Predicate: "https://slsa.dev/provenance/v1"}}
	c := d.command(t, nil)
	must(t, c.printRelease(r))
	got := d.stdout.String()
	for _, want := range []string{"linux/amd64   " + r.Digest.Short() + ", 1.5 MiB to pull, 4.0 MiB unpacked, 2 packages\n", "layer base " + r.Digest.Short() + " 1.0 MiB\n",
		"runs /app --name \"a b\" as 1:1 in /app\n", "env A=1\n", "label team=x\n", "exposes 80/tcp\n", "volumes /a, /b\n", "stopped by SIGINT\n", "shell /bin/sh -c\n", "health check CMD true, every 5s, 2 tries\n",
		"runs nothing of itself as root in /\n", "inputs        not committed ", "signed        signature ", "signed        https://slsa.dev/provenance/v1 ", "released      2026-11-23 01:00:00 UTC (1 h ago), run run-1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
