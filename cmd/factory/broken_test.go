package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A parent with a bad definition holds its children back; they are not broken themselves.
func TestBrokenParentHoldsBack(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.offspring(t)
	edit(t, d.dir, filepath.Join("baseimages", "debian-12", "image.yaml"), "summary:", "sumary:")
	if code := d.run(t, "plan"); code != exitPartial || strings.Count(d.stdout.String(), "hold") != 3 || !strings.Contains(d.stdout.String(), "debian-12-app, which it is built on, has a definition that is not valid") {
		t.Errorf("exit %d\n%s%s", code, &d.stdout, &d.stderr)
	}
}

// Each line of a night's table says what is wrong with that image; what is said below holds everything once.
func TestBrokenDefinitionsEach(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	edit(t, d.dir, filepath.Join("baseimages", "debian-12", "image.yaml"), "summary:", "sumary:")
	edit(t, d.dir, filepath.Join("baseimages", "debian-13", "image.yaml"), "endOfLife:", "endOfLive:")
	d.run(t, "nightly")
	for _, want := range []string{`(?m)^debian-12 +failed +baseimages/debian-12/image\.yaml:.*`, `(?m)^debian-13 +failed +baseimages/debian-13/image\.yaml:.*`} {
		if !regexp.MustCompile(want).MatchString(d.stdout.String()) {
			t.Errorf("%s is not in\n%s%s", want, &d.stdout, &d.stderr)
		}
	}
	for _, want := range []string{"sumary", "endOfLive"} {
		if strings.Count(d.stderr.String(), want) != 1 {
			t.Errorf("%s is not told once:\n%s", want, &d.stderr)
		}
	}
}
