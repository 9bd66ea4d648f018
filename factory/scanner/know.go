package scanner

import (
	"context"
	"errors"
	"fmt"
)

// Knows reports whether the open database has a vulnerability of this id, of whatever package. ErrNotFound when none is open.
func (c *Client) Knows(ctx context.Context, vulnerability string) (known bool, err error) {
	what := fmt.Sprintf("look for %.60s", vulnerability)
	err = c.do(ctx, what, 1, job{matches: true, run: func(v *conversation, _ database) error {
		reply, err := v.ask(ctx, Request{Op: Know, Vulnerability: vulnerability}, what, c.timeout())
		if err != nil {
			return err
		}
		if reply.Error != nil {
			return reply.Error.problem(what)
		}
		known = *reply.Known
		return nil
	}})
	return known, err
}

// Knows reports whether any scanner's data has a vulnerability of this id. One that cannot say is an error, unless another knows it.
func (g Group) Knows(ctx context.Context, vulnerability string) (bool, error) {
	var errs []error
	for _, s := range append([]Scanner{g.First}, g.Others...) {
		known, err := s.Knows(ctx, vulnerability)
		if known {
			return true, nil
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}
