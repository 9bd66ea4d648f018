package buildkit

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// configured is how a child is run on one platform: its definition's own word, else its Dockerfile's, else that of the parent's release.
func (k *child) configured() (c factory.Config, err error) {
	img := k.Job.Image
	parent, err := factory.ParseConfig(k.config)
	if err != nil {
		return c, fmt.Errorf("parent of %s: %w", img.Name, err)
	}
	below := parent
	if k.image != nil {
		if below, err = factory.ParseConfig(k.image); err != nil {
			return c, fmt.Errorf("%s of %s: %w", img.Dockerfile, img.Name, err)
		}
	}
	below.Labels = maps.Clone(below.Labels)
	maps.DeleteFunc(below.Labels, func(key, v string) bool {
		was, old := parent.Labels[key]
		return factory.NamesImage(key) && old && was == v
	})
	c = img.Over(below)
	// A definition cannot say root; nor can a Dockerfile, by whatever name the tests would find out.
	if user, _, _ := strings.Cut(cmp.Or(c.User, "root"), ":"); user == "root" || strings.Trim(user, "0") == "" {
		at := factory.Position{File: path.Join("baseimages", img.Name, img.Dockerfile)}
		return c, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s would run as root: its user is %q", img.Name, c.User), Where: at,
			Hint: "end the Dockerfile with another USER, or say config.user in image.yaml"}
	}
	return c, nil
}
