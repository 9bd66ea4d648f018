package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/imagefactory/imagefactory/factory"
)

// Walk reads the images of many repositories, to tell what they are built on. What it holds at a time does not grow with their
// number.
type Walk struct {
	Client *Client
	Width  int // repositories at once; 0 = 4
	Tags   int // newest tags of each that are read, as far as their names tell; 0 = all
	// Match says whether an image is built on one of ours, and on which. It is asked by several goroutines at once.
	Match func(factory.Candidate) (factory.Observed, bool)
}

// Looked is what was read of one repository.
type Looked struct {
	Repository string
	Tags       int                // that it has
	Images     int                // that were read
	Found      []factory.Observed // of these, one for each tag
	Unread     []string           // tags that are there and were not read: older ones, and what could not be read
	Older      int                // of these, that were not asked for
	Skipped    map[string]int     // tags that name no image, by why
	// Missing is set when there is no such repository, or none that is shown to us.
	Missing bool
	// Blind is set when nobody knows which tags there are: nothing can be told to be gone.
	Blind bool
	// Problems are what could not be read, the first few of it; More is how many others there are.
	Problems []error
	More     int
}

// maxProblems are told of one repository.
const maxProblems = 5

func (l *Looked) problem(err error) {
	if len(l.Problems) < maxProblems {
		l.Problems = append(l.Problems, err)
	} else {
		l.More++
	}
}

// Read is how many tags were read, whatever they name.
func (l Looked) Read() int { return l.Tags - len(l.Unread) }

// Run hands every repository's Looked to each, one at a time, in any order. A repository that cannot be read is no error of Run: it
// is told with its problems, and so is every one that is not asked any more because the registry stopped answering. Run ends early
// with ctx, or with the error of each.
func (w Walk) Run(ctx context.Context, repositories []string, each func(Looked) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	todo, done := make(chan string), make(chan Looked)
	silent := &silence{}
	for range cmp.Or(w.Width, 4) {
		work.Go(func() {
			for repository := range todo {
				l := w.look(ctx, repository, silent)
				select {
				case done <- l:
				case <-ctx.Done():
				}
			}
		})
	}
	go func() {
		defer func() { close(todo); work.Wait(); close(done) }()
		for _, repository := range repositories {
			select {
			case todo <- repository:
			case <-ctx.Done():
				return
			}
		}
	}()
	told := 0
	for l := range done {
		if ctx.Err() != nil {
			continue // what was cut in the middle says nothing
		}
		if err := each(l); err != nil {
			cancel(err)
		}
		told++
		w.Client.Events.Emit(factory.Event{Kind: factory.Advanced, Message: l.Repository, Current: int64(told), Total: int64(len(repositories)), Unit: "repositories"})
	}
	return context.Cause(ctx)
}

func (w Walk) look(ctx context.Context, repository string, silent *silence) Looked {
	l := Looked{Repository: repository, Skipped: map[string]int{}, Blind: true}
	if err := silent.gone(); err != nil {
		l.problem(err)
		return l
	}
	s, err := w.Client.open(repository, transport.PullScope)
	if err == nil {
		err = w.tags(ctx, s, &l)
	}
	if err != nil {
		l.problem(err)
	}
	silent.note(errors.Join(l.Problems...))
	return l
}

func (w Walk) tags(ctx context.Context, s *session, l *Looked) error {
	at := s.url("tags/list")
	at.RawQuery = "n=1000"
	names, cut, err := s.names(ctx, "list tags", at)
	if errors.Is(err, factory.ErrNotFound) {
		l.Missing, l.Blind = true, false
		return nil
	}
	if err != nil {
		return err
	}
	if cut != "" {
		l.problem(&factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("tags of %s: %s", l.Repository, cut)})
	}
	l.Tags, l.Blind = len(names), cut != ""
	tags := l.proper(names)
	n := len(tags)
	if w.Tags > 0 {
		n = min(n, w.Tags)
	}
	l.Unread, l.Older = append(l.Unread, tags[n:]...), len(tags)-n
	known := map[factory.Digest]read{}
	for i, tag := range tags[:n] {
		if err := w.tag(ctx, s, l, tag, known); err != nil {
			l.Unread = append(l.Unread, tags[i:n]...)
			return err
		}
	}
	return nil
}

// proper returns the tags that can name an image, the newest first.
func (l *Looked) proper(names []string) []string {
	tags := names[:0]
	for _, name := range names {
		switch _, err := factory.ParseRef(l.Repository + ":" + name); {
		case err != nil:
			l.Skipped["names that no tag can have"]++
		case attached.MatchString(name):
			l.Skipped[skipAttached]++
		default:
			tags = append(tags, name)
		}
	}
	newestFirst(tags)
	return tags
}

// read is what came of a digest: several tags often name one.
type read struct {
	found factory.Observed
	built bool // on one of ours
	err   error
}

// tag reads one tag. The error is one after which the others need not be tried.
func (w Walk) tag(ctx context.Context, s *session, l *Looked, tag string, known map[factory.Digest]read) error {
	body, _, err := s.get(ctx, tag)
	r := read{err: err}
	if err == nil {
		r = w.read(ctx, s, tag, body, known)
	}
	var skip skipped
	switch {
	case r.err == nil:
		l.Images++
		if r.built {
			l.Found = append(l.Found, r.found)
		}
	case errors.As(r.err, &skip):
		l.Skipped[string(skip)]++
	case errors.Is(r.err, factory.ErrNotFound):
		l.Skipped[skipMissing]++
	case errors.Is(r.err, factory.ErrUnavailable) || ctx.Err() != nil:
		return fmt.Errorf("%s:%s: %w", l.Repository, tag, r.err)
	default:
		l.Unread = append(l.Unread, tag)
		l.problem(fmt.Errorf("%s:%s: %w", l.Repository, tag, r.err))
	}
	return nil
}

func (w Walk) read(ctx context.Context, s *session, tag string, body []byte, known map[factory.Digest]read) read {
	digest := factory.DigestOf(body)
	r, again := known[digest]
	if !again {
		var c factory.Candidate
		if c, r.err = s.candidate(ctx, tag, body); r.err == nil {
			r.found, r.built = w.Match(c)
		}
		known[digest] = r
	}
	r.found.Tag = tag
	return r
}
