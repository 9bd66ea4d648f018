package definition

import (
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// contents is what lies in an image's folder.
type contents struct {
	entries   []fs.DirEntry
	err       error // of entries
	documents map[string]document
}

// document is a parsed file.
type document struct {
	node *node
	err  error
}

// readAhead begins to read and parse the folders of the images, those that come first first, beside whoever needs them: that is most
// of the work, and does not depend on what other files say. It returns what ends that.
func (l *loader) readAhead() (stop func()) {
	l.ahead = map[string]func() *contents{}
	for _, name := range l.names {
		l.ahead[name] = sync.OnceValue(func() *contents { return l.contents(name) })
	}
	var next atomic.Int64
	var work sync.WaitGroup
	for range runtime.NumCPU() - 1 {
		work.Go(func() {
			for i := next.Add(1); i <= int64(len(l.names)); i = next.Add(1) {
				l.ahead[l.names[i-1]]()
			}
		})
	}
	return func() { next.Store(int64(len(l.names))); work.Wait() }
}

// contents reads the folder of an image, and those files that every image has.
func (l *loader) contents(name string) *contents {
	c := &contents{documents: map[string]document{}}
	inside, err := l.tree.enter(folder + "/" + name)
	if err == nil {
		defer inside.close()
		c.entries, c.err = inside.entries(folder + "/" + name)
	} else {
		inside = l.tree // what is wrong is told of each file
		c.entries, c.err = inside.list(folder + "/" + name)
	}
	for _, file := range []string{imageFileName, testsFileName} {
		c.documents[file] = inside.document(l.in(name, file))
	}
	return c
}

// document reads and parses one file.
func (t tree) document(name string) document {
	b, err := t.read(name, MaxFile)
	if err != nil {
		return document{err: err}
	}
	n, err := parse(name, b)
	return document{n, err}
}

// document returns a file that may have been read ahead.
func (l *loader) document(name string) document {
	rest, _ := strings.CutPrefix(name, folder+"/")
	image, file, _ := strings.Cut(rest, "/")
	if ahead := l.ahead[image]; ahead != nil {
		if d, read := ahead().documents[file]; read {
			return d
		}
	}
	return l.tree.document(name)
}

// lacks reports whether a file is not in an image's folder.
func (l *loader) lacks(name, file string) bool {
	if c := l.ahead[name](); c.err == nil {
		return !slices.ContainsFunc(c.entries, func(e fs.DirEntry) bool { return e.Name() == file })
	}
	_, err := l.tree.stat(l.in(name, file))
	return errors.Is(err, fs.ErrNotExist)
}
