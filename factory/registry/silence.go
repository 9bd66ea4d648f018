package registry

import (
	"errors"
	"fmt"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// deaf is how many repositories in a row a registry may leave unanswered before it counts as gone.
const deaf = 5

// silence counts repositories in a row that got no answer.
type silence struct {
	mu    sync.Mutex
	inRow int
	last  error
}

// gone says why a registry is not asked any more, nil while it is.
func (s *silence) gone() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inRow < deaf {
		return nil
	}
	return &factory.Problem{Kind: factory.ErrUnavailable, What: fmt.Sprintf("not asked: the registry did not answer for %d repositories in a row", s.inRow), Cause: s.last}
}

// note hears what came of asking about one repository.
func (s *silence) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(err, factory.ErrUnavailable) {
		s.inRow = 0
		return
	}
	s.inRow, s.last = s.inRow+1, err
}
