package accept

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// check is one test: a name, and what is wrong according to the facts (nothing = it holds).
type check struct {
	name  string
	where factory.Position
	wrong func(facts) []string
	time  func(facts) float64 // seconds; may be nil
}

func (c check) result(f facts) factory.TestResult {
	r := factory.TestResult{Name: c.name}
	wrong := []string{f.missing}
	if f.missing == "" {
		wrong = c.wrong(f)
		if c.time != nil {
			r.Seconds = c.time(f)
		}
	}
	r.Detail = strings.Join(wrong, ", ")
	r.Passed = r.Detail == ""
	return r
}

// checks are an image's tests in the order of its definition.
func checks(image factory.Image) []check {
	var all []check
	tests := image.Tests
	for i, t := range tests.Commands {
		all = append(all, commandCheck(i, t))
	}
	for i, t := range tests.Files {
		all = append(all, check{name: "file: " + t.Path, where: t.Where, wrong: func(f facts) []string {
			if i >= len(f.Files) {
				return []string{"no result"}
			}
			return fileWrong(t, f.Files[i], f)
		}})
	}
	for _, p := range tests.Packages.Present {
		all = append(all, check{name: "package: " + p + " is installed", wrong: packageWrong(image, p, func(state string) bool { return state == "installed" })})
	}
	for _, p := range tests.Packages.Absent {
		all = append(all, check{name: "package: " + p + " is absent", wrong: packageWrong(image, p, func(state string) bool {
			return state == "" || state == "not-installed" || state == "config-files"
		})})
	}
	for _, t := range tests.Users {
		all = append(all, check{name: "user: " + t.Name, wrong: func(f facts) []string { return userWrong(t, f) }})
	}
	all = append(all, check{name: "setuid: no file beyond the list", where: image.Where, wrong: func(f facts) []string { return setuidWrong(tests.Setuid, f) }})
	if tests.NonRoot {
		all = append(all, check{name: "non-root: the image's user", where: image.Where, wrong: func(f facts) []string { return rootWrong(image.Config.User, f) }})
	}
	return all
}

func commandCheck(i int, t factory.CommandTest) check {
	return check{
		name: "command: " + t.Name, where: t.Where,
		wrong: func(f facts) []string {
			if i >= len(f.Commands) {
				return []string{"no result"}
			}
			return commandWrong(t, f.Commands[i])
		},
		time: func(f facts) float64 {
			if i >= len(f.Commands) {
				return 0
			}
			return f.Commands[i].Seconds
		},
	}
}

func commandWrong(t factory.CommandTest, c commandFact) []string {
	switch {
	case c.Error != "":
		return []string{"not started: " + quote([]byte(c.Error))}
	case !c.Ended:
		return []string{fmt.Sprintf("did not end within %d s", timeout(t))}
	}
	var wrong []string
	if c.Signal != 0 {
		wrong = append(wrong, fmt.Sprintf("died of signal %d, expected exit %d", c.Signal, t.Exit))
	} else if c.Exit != t.Exit {
		wrong = append(wrong, fmt.Sprintf("exit %d, expected %d", c.Exit, t.Exit))
	}
	wrong = append(wrong, streamWrong("stdout", t.Stdout, c.Stdout, c.Dropped)...)
	wrong = append(wrong, streamWrong("stderr", t.Stderr, c.Stderr, c.Dropped)...)
	if len(wrong) > 0 && t.Stderr == "" && len(c.Stderr) > 0 {
		wrong = append(wrong, "stderr "+quote(c.Stderr))
	}
	return wrong
}

func streamWrong(name, pattern string, got []byte, dropped bool) []string {
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return []string{fmt.Sprintf("%s: bad pattern: %v", name, err)}
	}
	if re.Match(got) {
		return nil
	}
	cut := ""
	if dropped {
		cut = " (cut off)"
	}
	return []string{fmt.Sprintf("%s %s%s does not match %q", name, quote(got), cut, pattern)}
}

func fileWrong(t factory.FileTest, got fileFact, f facts) []string {
	switch {
	case got.Error != "" && !got.Exists:
		return []string{quote([]byte(got.Error))}
	case t.Absent && got.Exists:
		return []string{"is there, a " + got.Type + ", expected none"}
	case t.Absent:
		return nil
	case !got.Exists:
		return []string{"is not there"}
	}
	var wrong []string
	expect := func(what, want, got string) {
		if want != "" && want != got {
			wrong = append(wrong, fmt.Sprintf("%s %s, expected %s", what, got, want))
		}
	}
	expect("type", t.Type, got.Type)
	expect("mode", t.Mode, fmt.Sprintf("%04o", got.Mode))
	if t.Owner != "" {
		owner, err := f.owner(got.UID, got.GID)
		if err != nil {
			owner = err.Error()
		}
		expect("owner", t.Owner, owner)
	}
	switch {
	case t.Contains != "" && got.Error != "":
		wrong = append(wrong, "content: "+quote([]byte(got.Error)))
	case t.Contains != "" && !got.Contains:
		wrong = append(wrong, fmt.Sprintf("does not contain %q", t.Contains))
	}
	return wrong
}

func packageWrong(image factory.Image, name string, good func(state string) bool) func(facts) []string {
	return func(f facts) []string {
		states, err := f.packages(image.Distro)
		switch state := states[name]; {
		case err != nil:
			return []string{err.Error()}
		case good(state):
			return nil
		case state == "":
			return []string{"is not installed"}
		default:
			return []string{"is " + quote([]byte(state))}
		}
	}
}

func userWrong(t factory.UserTest, f facts) []string {
	accounts, err := f.accounts()
	if err != nil {
		return []string{err.Error()}
	}
	i := slices.IndexFunc(accounts, func(a account) bool { return a.name == t.Name })
	if i < 0 {
		return []string{"is not in " + passwdFile}
	}
	var wrong []string
	expect := func(what, want, got string) {
		if want != got {
			wrong = append(wrong, fmt.Sprintf("%s %s, expected %s", what, got, want))
		}
	}
	a := accounts[i]
	expect("uid", strconv.Itoa(t.UID), strconv.FormatInt(a.uid, 10))
	expect("gid", strconv.Itoa(t.GID), strconv.FormatInt(a.gid, 10))
	if t.Home != "" {
		expect("home", t.Home, a.home)
	}
	if t.Shell != "" {
		expect("shell", t.Shell, a.shell)
	}
	return wrong
}

func setuidWrong(allowed []string, f facts) []string {
	if f.Setuid == nil {
		return []string{"no result"}
	}
	var wrong []string
	for _, p := range f.Setuid.Paths {
		if !slices.Contains(allowed, p) {
			wrong = append(wrong, quote([]byte(p))+" is not on the list")
		}
	}
	if f.Setuid.More > 0 {
		wrong = append(wrong, fmt.Sprintf("there are %d more", f.Setuid.More))
	}
	for _, e := range f.Setuid.Errors {
		wrong = append(wrong, "not looked at: "+quote([]byte(e)))
	}
	return wrong
}

// rootWrong says why a configured user is root or may be.
func rootWrong(user string, f facts) []string {
	name, _, _ := strings.Cut(user, ":")
	accounts, err := f.accounts()
	if err != nil {
		return []string{err.Error()}
	}
	for _, a := range accounts {
		if a.name == name && a.uid != 0 {
			return nil
		}
		if a.name == name {
			return []string{fmt.Sprintf("%q is root", user)}
		}
	}
	switch uid, err := strconv.ParseUint(name, 10, 32); {
	case name == "":
		return []string{"none is configured, so it is root"}
	case err != nil:
		return []string{fmt.Sprintf("%q is not in %s", user, passwdFile)}
	case uid == 0:
		return []string{fmt.Sprintf("%q is root", user)}
	}
	return nil
}

// quote shows a little of foreign text: its beginning, without anything that a terminal obeys.
func quote(b []byte) string {
	const most = 200
	b = []byte(strings.TrimSpace(string(b)))
	if len(b) > most {
		return strconv.QuoteToGraphic(string(b[:most])) + "..."
	}
	return strconv.QuoteToGraphic(string(b))
}
