package scanner

import (
	"context"
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
