package downstream

import (
	"fmt"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// moved is what became of one file.
type moved struct {
	text  []byte
	lines []int    // whose base was moved
	has   []int    // whose base is this digest already
	left  []string // FROM lines that may be meant and were left alone, and why
}

// move moves every FROM that names to's repository to its tag and digest, and touches nothing else. Who writes only a digest keeps that
// form.
func move(text []byte, to factory.Ref) moved {
	m := moved{}
	done := 0
	bases, lost := readDockerfile(text)
	for _, b := range bases {
		repository, tag, digest := parts(b.image)
		switch {
		case strings.Contains(b.image, "$"):
			m.left = append(m.left, fmt.Sprintf("line %d: FROM %s takes its base from an argument", b.line, b.image))
			continue
		case repository != to.Repository:
			continue
		case digest == string(to.Digest):
			m.has = append(m.has, b.line)
			continue
		case !b.whole:
			m.left = append(m.left, fmt.Sprintf("line %d: the base is broken by a line continuation", b.line))
			continue
		}
		ref := to
		if tag == "" && digest != "" {
			ref.Tag = ""
		}
		m.text = append(append(m.text, text[done:b.start]...), ref.String()...)
		m.lines = append(m.lines, b.line)
		done = b.end
	}
	m.text = append(m.text, text[done:]...)
	if lost > 0 {
		m.left = append(m.left, fmt.Sprintf("line %d: a here-document without an end; nothing behind it was looked at", lost))
	}
	return m
}

// parts takes an image name apart, without judging its parts.
func parts(image string) (repository, tag, digest string) {
	repository, digest, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:i], repository[i+1:]
	}
	return repository, tag, digest
}

// named are the images of a file's FROM lines that are of a repository, in order.
func named(text []byte, repository string) (images []string) {
	bases, _ := readDockerfile(text)
	for _, b := range bases {
		if r, _, _ := parts(b.image); r == repository {
			images = append(images, b.image)
		}
	}
	return images
}
