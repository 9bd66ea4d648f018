package definition

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// readAhead begins to parse the files of the images, those that come first first, beside whoever reads them: parsing is most of the
// work, and does not depend on what other files say. It returns what ends that.
func (l *loader) readAhead() (stop func()) {
	l.ahead = map[string]func() (*node, error){}
	var files []string
	for _, name := range l.names {
		for _, file := range []string{imageFileName, testsFileName} {
			files = append(files, l.in(name, file))
			l.ahead[l.in(name, file)] = sync.OnceValues(l.document(l.in(name, file)))
		}
	}
	var next atomic.Int64
	var work sync.WaitGroup
	for range runtime.NumCPU() - 1 {
		work.Go(func() {
			for i := next.Add(1); i <= int64(len(files)); i = next.Add(1) {
				_, _ = l.ahead[files[i-1]]()
			}
		})
	}
	return func() { next.Store(int64(len(files))); work.Wait() }
}

// document reads and parses one file.
func (l *loader) document(name string) func() (*node, error) {
	return func() (*node, error) {
		b, err := l.tree.read(name, MaxFile)
		if err != nil {
			return nil, err
		}
		return parse(name, b)
	}
}
