package cosign

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// statements compares everything that is attested with everything else that is known.
func (v *verification) statements(ctx context.Context) error {
	v.provenance()
	if v.made != nil {
		v.subjects()
		v.names()
		v.builder()
		if v.rebased() {
			v.rebase(ctx)
		} else {
			v.source()
		}
		v.base()
		v.labels()
	}
	v.sboms()
	v.report()
	v.compliance()
	v.vex()
	v.decision()
	return nil
}

// provenance finds what the trusted key says of this digest's making: for the tag when there is such, for its day and
// commit in another environment, and the newest otherwise.
func (v *verification) provenance() {
	var there []statement[provenance]
	others := 0
	for _, c := range v.claims {
		if st, err := read[provenance](c); err == nil && c.PredicateType == ProvenanceType && (st.Predicate.BuildDefinition.BuildType == BuildType || st.Predicate.BuildDefinition.BuildType == RebaseBuildType) {
			there = append(there, st)
		} else if c.PredicateType == ProvenanceType {
			others++
		}
	}
	if len(there) == 0 {
		why := v.lacking(ProvenanceType, rebuild)
		if others > 0 {
			why = fmt.Sprintf("none of %d is provenance of this factory", others)
		}
		v.add("provenance", false, "%s", why)
		return
	}
	for _, same := range []func(factory.Tag) bool{
		func(t factory.Tag) bool { return t.String() == v.ref.Tag },
		func(t factory.Tag) bool { return v.promoted(t) },
	} {
		if about := slices.DeleteFunc(slices.Clone(there), func(st statement[provenance]) bool { return !same(st.Predicate.tag()) }); len(about) > 0 {
			there = about
			break
		}
	}
	newest := slices.MaxFunc(there, func(a, b statement[provenance]) int { return a.Predicate.finished().Compare(b.Predicate.finished()) })
	v.made = &newest
	run := newest.Predicate.RunDetails.Metadata
	kind := ""
	if v.rebased() {
		kind = " that built nothing, a rebase,"
	}
	v.add("provenance", true, "%s attests a run%s%s that began %s, with %d dependencies", v.trust.who, prefixed(" ", run.InvocationID), kind,
		minute(run.StartedOn), len(newest.Predicate.BuildDefinition.ResolvedDependencies))
}

// promoted reports whether the tag that is looked at is made from another environment's tag.
func (v *verification) promoted(from factory.Tag) bool {
	tag, err := factory.ParseTag(v.ref.Tag)
	tag.Env = from.Env
	return err == nil && tag.Compare(from) == 0
}

func (v *verification) subjects() {
	var lacking []string
	for _, p := range v.parts {
		if !slices.ContainsFunc(v.made.Subject, func(r resource) bool { return r.Digest["sha256"] == p.digest.Hex() }) {
			lacking = append(lacking, p.name)
		}
	}
	if len(lacking) > 0 {
		v.add("provenance subject", false, "it does not speak of %s", strings.Join(lacking, ", "))
		return
	}
	v.add("provenance subject", true, "it speaks of all %d manifests", len(v.parts))
}

// names compares what the image is called with what it was made as. An image and all that hangs on it can be copied under
// any name, and any tag can be put on it. A tag that it was not made for needs a decision of its own.
func (v *verification) names() {
	made := v.made.Predicate.BuildDefinition.ExternalParameters
	v.add("provenance image", made.Image == v.ref.Name(), "it speaks of %s, the repository is %s", made.Image, v.ref.Repository)
	switch {
	case v.ref.Tag == "":
	case made.Tag.String() != v.ref.Tag && v.promoted(made.Tag) && v.allowed(v.ref.Tag):
		v.add("provenance tag", true, "it speaks of %s, promoted since", made.Tag)
	default:
		v.add("provenance tag", made.Tag.String() == v.ref.Tag, "it speaks of %s", made.Tag)
	}
}

func (v *verification) builder() {
	got, want := v.made.Predicate.RunDetails.Builder.ID, v.options.Builder
	switch {
	case got == "":
		v.add("builder", false, "the provenance names none")
	case want != "" && got != want:
		v.add("builder", false, "%s, expected %s", got, want)
	default:
		v.add("builder", true, "%s", got)
	}
}

// source compares the tag in the provenance with its commit: the tag's hash is the commit's beginning.
func (v *verification) source() {
	def := v.made.Predicate.BuildDefinition
	commit, tag := v.commit(), v.made.Predicate.tag()
	env := cmp.Or(v.options.Env, tag.Env)
	if here, err := factory.ParseTag(v.ref.Tag); err == nil {
		env = here.Env // it may have been promoted since
	}
	name := "source"
	if commit == "" && !def.InternalParameters.Dirty {
		v.add(name, false, "the provenance names no commit")
		return
	}
	switch {
	case def.InternalParameters.Dirty && (tag.Env != factory.Dev || env != factory.Dev):
		v.add(name, false, "made from inputs that are in no commit, and not for dev only")
	case def.InternalParameters.Dirty:
		v.add(name, true, "made from inputs that are in no commit (%s), for dev only", tag.Hash)
	case !strings.HasPrefix(commit, tag.Hash):
		v.add(name, false, "the tag says %s, the provenance names commit %s", tag.Hash, commit)
	default:
		v.add(name, true, "commit %s", commit)
	}
}

func (v *verification) commit() string {
	for _, r := range v.made.Predicate.BuildDefinition.ResolvedDependencies {
		if r.Name == "source" {
			return r.Digest["gitCommit"]
		}
	}
	return ""
}

// The annotations that say what an image is built on.
const (
	baseDigestNote = "org.opencontainers.image.base.digest"
	baseNameNote   = "org.opencontainers.image.base.name"
)

// base compares what the image says it is built on with what it was built on. An image of packages alone says nothing.
func (v *verification) base() {
	made := ""
	for _, r := range v.made.Predicate.BuildDefinition.ResolvedDependencies {
		if r.Name == baseName {
			made = r.Digest["sha256"]
		}
	}
	var wrong []string
	name := ""
	for _, p := range v.parts {
		said := strings.TrimPrefix(p.notes[baseDigestNote], "sha256:")
		name = cmp.Or(name, p.notes[baseNameNote])
		if said != made {
			wrong = append(wrong, fmt.Sprintf("%s says %.80s", p.name, cmp.Or(said, "nothing")))
		}
	}
	switch {
	case len(wrong) > 0:
		v.add("base", false, "%s; the provenance says %s", strings.Join(wrong, "; "), cmp.Or(made, "nothing"))
	case made != "":
		v.add("base", true, "%.200s, sha256:%s", name, made)
	}
}

// labels compares what the image says of itself, where it says something.
func (v *verification) labels() {
	commit := v.commit()
	var wrong []string
	compared := 0
	for _, p := range v.parts {
		said := p.notes["org.opencontainers.image.revision"]
		if said == "" || commit == "" {
			continue
		}
		compared++
		if said != commit {
			wrong = append(wrong, fmt.Sprintf("%s says revision %.60s", p.name, said))
		}
	}
	switch {
	case len(wrong) > 0:
		v.add("labels", false, "%s; the provenance says %s", strings.Join(wrong, "; "), commit)
	case compared == 0:
		v.add("labels", true, "none name a revision")
	default:
		v.add("labels", true, "%d name the same revision as the provenance", compared)
	}
}
