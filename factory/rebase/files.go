package rebase

import (
	"fmt"
	"maps"
	"slices"

	"github.com/imagefactory/imagefactory/factory"
)

// files wants the image's own layers to hide nothing that changed between the bases, but for what can be merged, and collects the
// merges.
func (j *judge) files() {
	var wrong, database []string
	changed := j.changed()
	for _, p := range changed {
		own, touched := j.own[p]
		if !touched {
			switch why := j.hides(p); {
			case why != "":
				wrong = append(wrong, why)
			case !same(j.after[p], j.new[p]): // one layer took away what lies above it, and another one brought that back
				wrong = append(wrong, fmt.Sprintf("its own layers together hide /%s, where the bases differ", p))
			}
			continue
		}
		why := j.conflict(p, own)
		switch {
		case why == "":
		case isDatabase(p):
			database = append(database, why)
		default:
			wrong = append(wrong, why)
		}
	}
	j.say(RuleFiles, wrong, "of %s that changed between the bases the image's own %s hide none; %s", count(len(changed), "path"), count(len(j.own), "path"), j.mergedText())
	j.say(RuleDatabase, database, "%s", j.databaseText())
}

// changed are the paths that the two bases do not have alike, in the order of a layer.
func (j *judge) changed() []string {
	var all []string
	both := maps.Clone(j.old)
	maps.Copy(both, j.new)
	for _, p := range both.sorted() {
		if !same(j.old[p], j.new[p]) && !alike(p, j.old[p], j.new[p]) {
			all = append(all, p)
		}
	}
	return all
}

// hides says how the image's own layers hide a path that they do not name: by what lies, or does not lie, above it.
func (j *judge) hides(p string) string {
	for d := p; d != ""; {
		d = parent(d)
		switch own, there := j.own[d]; {
		case j.hidden[d]:
			return fmt.Sprintf("it empties /%s, where the bases differ: /%s", d, p)
		case d != "" && there && own.Kind == factory.Whiteout:
			return fmt.Sprintf("it takes /%s away, where the bases differ: /%s", d, p)
		case d != "" && there && own.Kind != factory.Directory:
			return fmt.Sprintf("it has a %s in the place of /%s, where the bases differ: /%s", own.Kind, d, p)
		}
	}
	return ""
}

// conflict says why the image's own version of a path that changed between the bases cannot stay, or plans its merge.
func (j *judge) conflict(p string, own factory.LayerFile) string {
	was, is := j.old[p], j.new[p]
	switch {
	case same(own, is), own.Kind == factory.Whiteout && is.Kind == "":
		return ""
	case own.Kind == factory.Whiteout:
		return fmt.Sprintf("it takes /%s away, which changed between the bases", p)
	case own.Kind == factory.Directory && is.Kind == factory.Directory && sameMeta(own, was) && is.Attrs == "":
		is.Path = p
		j.merged = append(j.merged, Merged{is, "mode and owner of the new base"})
		return ""
	case own.Kind == factory.PlainFile && is.Kind == factory.PlainFile && was.Kind == factory.PlainFile && how(p) != nil && readable(was, is, own):
		return j.merge(p, was, is, own)
	case isDatabase(p):
		return fmt.Sprintf("its own layers change /%s, a database that cannot be merged", p)
	}
	return fmt.Sprintf("it has a /%s of its own, which changed between the bases", p)
}

// readable reports whether the content is there to be merged.
func readable(all ...factory.LayerFile) bool {
	return !slices.ContainsFunc(all, func(f factory.LayerFile) bool { return f.Data == nil && f.Sum != factory.DigestOf(nil) })
}

// merge brings together what the new base and the image each changed.
func (j *judge) merge(p string, was, is, own factory.LayerFile) string {
	meta := own
	switch {
	case sameMeta(own, was):
		meta = is
	case !sameMeta(is, was) && !sameMeta(is, own):
		return fmt.Sprintf("mode or owner of /%s differs in the image, the old and the new base", p)
	}
	data, clash := how(p)(was.Data, is.Data, own.Data)
	if clash != "" {
		return fmt.Sprintf("/%s cannot be merged: %s differs in the image, the old and the new base", p, clash)
	}
	if string(data) == string(own.Data) && sameMeta(meta, own) {
		return ""
	}
	meta.Path, meta.Kind, meta.Target, meta.ELF = p, factory.PlainFile, "", nil
	meta.Data, meta.Sum = data, factory.DigestOf(data)
	j.merged = append(j.merged, Merged{meta, "what the new base changed, and what the image added"})
	return ""
}

func (j *judge) mergedText() string {
	if len(j.merged) == 0 {
		return "nothing has to be merged"
	}
	var names []string
	for _, m := range j.merged {
		names = append(names, "/"+m.Path)
	}
	return "merged: " + some(names)
}

func (j *judge) databaseText() string {
	for _, m := range j.merged {
		if m.Path == statusFile {
			return "the packages of the new base and the image's own are written together"
		}
	}
	for p := range j.own {
		if isDatabase(p) {
			return "the image's own entries hide nothing of the new base"
		}
	}
	return "its own layers leave the package database alone"
}
