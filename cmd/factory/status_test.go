package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

func TestDrift(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name     string
		findings []factory.Finding
		want     time.Duration
		text     string
	}{
		{"nothing found", nil, 0, "none"},
		{"nobody has mended it", []factory.Finding{{FixedOn: ago(9 * day)}, {FixSeen: ago(9 * day)}}, 0, "none"},
		{"the oldest fix counts", []factory.Finding{{Fixed: "2", FixedOn: ago(day)}, {Fixed: "2", FixedOn: ago(3 * day)}}, 3 * day, "3 d"},
		{"nobody says since when, so from when it was seen", []factory.Finding{{Fixed: "2", FixSeen: ago(5 * time.Hour)}}, 5 * time.Hour, "5 h"},
		{"nothing is known of when", []factory.Finding{{Fixed: "2"}}, 0, "none"},
		{"a fix from the future", []factory.Finding{{Fixed: "2", FixedOn: ago(-day)}}, 0, "none"},
	} {
		s := standing{Scan: factory.Scan{At: now, Findings: c.findings}}
		if got := s.drift(now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := s.view(now).Drift(); got != c.text {
			t.Errorf("%s: %q, want %q", c.name, got, c.text)
		}
	}
}

func TestVerdictOfTheDay(t *testing.T) {
	t.Parallel()
	late := factory.Reason{Blocks: true, Text: "late"}
	for want, v := range map[string]imageView{
		"pass":                     {Pass: true},
		"BREACH":                   {},
		"BREACH: late":             {Blocking: []factory.Reason{late}},
		"BREACH: late; and 1 more": {Blocking: []factory.Reason{late, late}},
	} {
		if got := v.Verdict(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What names and reasons say is shown on the page, and never obeyed.
func TestPageIsSafe(t *testing.T) {
	t.Parallel()
	const nasty = `</td><script src="http://evil.invalid/x.js"></script>`
	file := filepath.Join(t.TempDir(), "page.html")
	v := view{Images: []imageView{{Image: nasty, Ref: nasty, Blocking: []factory.Reason{{Text: nasty}}, Next: &factory.Reason{Text: nasty}}}, Nowhere: []absent{{nasty, nasty}}, LastRun: &runView{Verdict: nasty}}
	must(t, v.write(file))
	page := read(t, file)
	if strings.Contains(page, "<script") || strings.Count(page, "&lt;script") != 7 {
		t.Errorf("%d are escaped in\n%s", strings.Count(page, "&lt;script"), page)
	}
}

// A flag of a command that is called like a setting is not the setting.
func TestFlagsThatAreNoSettings(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.release(t, "debian-12", time.Hour)
	d.env["FACTORY_ENV"] = "prod"
	if code := d.run(t, "gate", "debian-12", "--env", "staging", "--json"); code != exitOK || !strings.Contains(d.stdout.String(), `"env": "staging"`) {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
	if code := d.run(t, "config", "--env", "staging"); code != exitOK || !strings.Contains(d.stdout.String(), "--env") {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
	if code := d.run(t, "verify", d.registry+"/debian-12:20261123-1a2b3c4d-dev", "--max-age", "soon"); code != exitInvalid || !strings.Contains(d.stderr.String(), `--max-age "soon"`) {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
}

// Data that cannot be had is not waited for again and again in one run.
func TestDataIsDecidedOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := d.command(t, map[string]string{"vulnerabilities": t.TempDir()})
	_, _, first := c.scanner(t.Context())
	must(t, fixtureData(d.Now()).Write(c.cfg.Vulnerabilities))
	_, _, second := c.scanner(t.Context())
	if first == nil || second == nil || first.Error() != second.Error() {
		t.Errorf("%v, then %v", first, second)
	}
	_, data, err := d.command(t, map[string]string{"vulnerabilities": c.cfg.Vulnerabilities}).scanner(t.Context())
	if err != nil || data.Kind != factory.TrivyDatabase || data.Digest == "" || data.Origin != c.cfg.Vulnerabilities {
		t.Errorf("%+v %v", data, err)
	}
}
