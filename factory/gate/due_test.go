package gate_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/gate"
)

func TestDue(t *testing.T) {
	t.Parallel()
	e := evidence()
	at := func(id string, s factory.Severity, fixed string) {
		f := finding()
		f.Vulnerability, f.Severity, f.FixedOn = id, s, noon(fixed)
		e.Scan.Findings = append(e.Scan.Findings, f)
	}
	at("CVE-2026-1004", factory.Low, "2026-11-20")
	at("CVE-2026-1003", factory.Moderate, "2026-11-10") // 12-01
	at("CVE-2026-1002", factory.High, "2026-11-23")     // 11-30
	at("CVE-2026-1001", factory.Critical, "2026-11-19") // 11-22, late
	at("CVE-2026-1005", factory.Critical, "2026-11-20") // 11-23, today
	d := gate.Decide(policy(), e)
	for days, want := range map[int][]string{
		-1:      {"CVE-2026-1001", "CVE-2026-1005"},
		0:       {"CVE-2026-1001", "CVE-2026-1005"},
		6:       {"CVE-2026-1001", "CVE-2026-1005"},
		7:       {"CVE-2026-1001", "CVE-2026-1005", "CVE-2026-1002"},
		8:       {"CVE-2026-1001", "CVE-2026-1005", "CVE-2026-1002", "CVE-2026-1003"},
		1 << 40: {"CVE-2026-1001", "CVE-2026-1005", "CVE-2026-1002", "CVE-2026-1003", "CVE-2026-1004", ""},
	} {
		var got []string
		for _, r := range gate.Due(d, days) {
			id, _, _ := strings.Cut(r.Subject, " ")
			got = append(got, id)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d days: %v, want %v", days, got, want)
		}
	}
	if next := d.Next(); next.Subject != "CVE-2026-1001 openssl" {
		t.Errorf("%+v", next)
	}
}

func TestParseDays(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"0d": 0, "7d": 7, "2w": 14, "48h": 2, "49h": 3, "1h": 1, "0h": 0, "3650d": 3650} {
		if got, err := gate.ParseDays(s); err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "7", "d", "-7d", "7 d", "7D", "1.5d", "7d ", "7days", "3651d", "99999w", "100000000000000000000d", "٧d"} {
		if _, err := gate.ParseDays(s); !errors.Is(err, factory.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseDays(f *testing.F) {
	for _, s := range []string{"7d", "48h", "2w", "", "d", "-1d", "99999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := gate.ParseDays(s)
		if err == nil && (n < 0 || n > 3650) || err != nil && !errors.Is(err, factory.ErrInvalid) {
			t.Fatalf("%q: %d %v", s, n, err)
		}
	})
}
