package factory

import (
	"fmt"
	"strings"
	"time"
)

// Env is where a release is allowed to run. Order: dev < staging < prod.
type Env string

// The environments, in the order of promotion.
const (
	Dev     Env = "dev"
	Staging Env = "staging"
	Prod    Env = "prod"
)

// ParseEnv accepts the three environments only.
func ParseEnv(s string) (Env, error) {
	switch e := Env(s); e {
	case Dev, Staging, Prod:
		return e, nil
	}
	return "", &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.40q is not an environment", s), Hint: "dev, staging or prod"}
}

// Date is a calendar day in UTC, written 2026-11-23. The zero value is "no date".
type Date struct{ t time.Time }

// DateOf returns the UTC day of t.
func DateOf(t time.Time) Date {
	y, m, d := t.UTC().Date()
	return Date{time.Date(y, m, d, 0, 0, 0, 0, time.UTC)}
}

// ParseDate reads 2026-11-23.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.40q is not a date", s), Hint: "write it like 2026-11-23"}
	}
	return Date{t}, nil
}

// Time returns the day's first instant, midnight UTC.
func (d Date) Time() time.Time { return d.t }

// IsZero reports whether there is no date.
func (d Date) IsZero() bool { return d.t.IsZero() }

// String returns 2026-11-23, or nothing for the zero value.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return d.t.Format(time.DateOnly)
}

// MarshalText returns String.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses strictly; an empty text is the zero value.
func (d *Date) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*d = Date{}
		return nil
	}
	*d, err = ParseDate(string(b))
	return err
}

// Tag names a release: the day it was made, the commit of its inputs, the environment it may run in.
// It is written 20261123-1a2b3c4d-prod. The zero value is no tag.
type Tag struct {
	Date Date
	Hash string // eight lower-case hex digits
	Env  Env
}

// ParseTag reads exactly what String writes, and nothing else.
func ParseTag(s string) (Tag, error) {
	bad := &Problem{Kind: ErrInvalid, What: fmt.Sprintf("%.80q is not a factory tag", s), Hint: "expected <date>-<hash>-<env>, like 20261123-1a2b3c4d-prod"}
	parts := strings.Split(s, "-")
	if len(parts) != 3 || !isHex(parts[1], 8) || len(parts[0]) != 8 {
		return Tag{}, bad
	}
	day, err := time.Parse("20060102", parts[0])
	if err != nil || day.Year() < 1 {
		return Tag{}, bad
	}
	env, err := ParseEnv(parts[2])
	if err != nil {
		return Tag{}, bad
	}
	return Tag{Date: Date{day}, Hash: parts[1], Env: env}, nil
}

// String returns the tag as a registry sees it.
func (t Tag) String() string {
	return t.Date.t.Format("20060102") + "-" + t.Hash + "-" + string(t.Env)
}

// Compare orders tags by date, then hash, then environment.
func (t Tag) Compare(u Tag) int {
	if c := t.Date.t.Compare(u.Date.t); c != 0 {
		return c
	}
	if c := strings.Compare(t.Hash, u.Hash); c != 0 {
		return c
	}
	return envRank(t.Env) - envRank(u.Env)
}

func envRank(e Env) int { return map[Env]int{Dev: 1, Staging: 2, Prod: 3}[e] }

// MarshalText returns String; the zero value is empty.
func (t Tag) MarshalText() ([]byte, error) {
	if t == (Tag{}) {
		return nil, nil
	}
	return []byte(t.String()), nil
}

// UnmarshalText parses strictly; an empty text is the zero value.
func (t *Tag) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*t = Tag{}
		return nil
	}
	*t, err = ParseTag(string(b))
	return err
}
