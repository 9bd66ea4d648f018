package definition

import (
	"github.com/imagefactory/imagefactory/factory"
)

// tests reads tests.yaml. A base image without one would be published untested, so it has to have one. A child's continues its
// parent's, unless the child has only a part of the parent: then it is another image.
func (l *loader) tests(r, parent *read) (factory.Tests, []string) {
	name := r.image.Name
	if r.image.Kind != factory.KindBase && l.lacks(name, testsFileName) {
		return factory.Tests{}, nil
	}
	own := l.parse(l.in(name, testsFileName))
	if own == nil {
		return factory.Tests{}, nil
	}
	n, used, whole := l.continued(own, "tests", testsType)
	if parent != nil && len(r.file.get("only").list()) == 0 {
		n = merge(inheritedTests(parent.tests, n), n, testsType, "")
	}
	r.tests = n
	var f testsFile
	l.decode(n, &f, !whole)
	l.checkTests(f)
	tests := factory.Tests{
		Packages: factory.PackageTest{Present: sorted(f.Packages.Present), Absent: sorted(f.Packages.Absent)},
		Setuid:   sorted(f.Setuid),
		NonRoot:  f.NonRoot,
	}
	for _, c := range f.Commands {
		tests.Commands = append(tests.Commands, factory.CommandTest{
			Name: c.Name.Value, Run: plain(c.Run), User: c.User.Value, Exit: c.Exit.Value,
			Stdout: c.Stdout.Value, Stderr: c.Stderr.Value, Timeout: c.Timeout.Value, Where: c.Where,
		})
	}
	for _, t := range f.Files {
		tests.Files = append(tests.Files, factory.FileTest{
			Path: t.Path.Value, Absent: t.Absent, Type: t.Type.Value, Mode: t.Mode.Value,
			Owner: t.Owner.Value, Contains: t.Contains.Value, Where: t.Where,
		})
	}
	for _, u := range f.Users {
		tests.Users = append(tests.Users, factory.UserTest{Name: u.Name.Value, UID: u.UID.Value, GID: u.GID.Value, Home: u.Home.Value, Shell: u.Shell.Value})
	}
	return tests, used
}
