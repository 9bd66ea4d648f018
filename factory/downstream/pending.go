package downstream

import (
	"context"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// bump is one file whose FROM lines of one repository are moved.
type bump struct {
	to   factory.Ref
	file string
}

// Trailers of our commits. With the tree a commit says of itself that its content is what we made: who amends it or commits on top of
// it has another tree.
const (
	trailerTree  = "Factory-Tree: "
	trailerMoves = "Factory-Moves: " // reference, space, file
	trailerCause = "Factory-Cause: "
)

// trailers are the values of all trailers of a name: lines of the last paragraph.
func (c *githubCommit) trailers(name string) (values []string) {
	message := strings.TrimSpace(c.Message)
	for line := range strings.Lines(message[strings.LastIndex(message, "\n\n")+1:]) {
		if v, is := strings.CutPrefix(strings.TrimRight(line, "\r\n"), name); is {
			values = append(values, v)
		}
	}
	return values
}

// ours reports whether everything in the commit's tree is the factory's doing.
func (c *githubCommit) ours() bool {
	return c.Tree.SHA != "" && slices.Equal(c.trailers(trailerTree), []string{c.Tree.SHA})
}

// pending adds to the moves those of other notices that wait in the open request, so that one request carries all. What the target
// has moved itself since, by hand, is left as it is there.
func (p *pull) pending(ctx context.Context) error {
	if p.open == nil || p.tip == nil {
		return nil
	}
	for _, trailer := range p.tip.trailers(trailerMoves) {
		text, name, _ := strings.Cut(trailer, " ")
		to, err := factory.ParseRef(text)
		if err != nil || slices.ContainsFunc(p.moves, func(b bump) bool { return b.to.Repository == to.Repository && b.file == name }) {
			continue
		}
		if err := p.carry(ctx, bump{to, name}); err != nil {
			return err
		}
	}
	return nil
}

func (p *pull) carry(ctx context.Context, b bump) error {
	f := p.files[b.file]
	if f == nil {
		var err error
		if f, err = p.readFile(ctx, p.tree, b.file); err != nil || !f.exists {
			return err
		}
	}
	if len(p.tip.Parents) != 1 {
		return nil
	}
	if parent := p.tip.Parents[0].SHA; parent != p.head {
		before, err := p.commit(ctx, parent)
		if err != nil {
			return err
		}
		then, err := p.readFile(ctx, before.Tree.SHA, b.file)
		if err != nil || !slices.Equal(named(then.text, b.to.Repository), named(f.was, b.to.Repository)) {
			return err
		}
	}
	m := move(f.text, b.to)
	if len(m.lines) > 0 {
		f.text, p.files[b.file] = m.text, f
		p.moves = append(p.moves, b)
	}
	return nil
}
