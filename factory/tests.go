package factory

// Tests are an image's acceptance tests, read from tests.yaml.
type Tests struct {
	Commands []CommandTest `json:"commands,omitempty"`
	Files    []FileTest    `json:"files,omitempty"`
	Packages PackageTest   `json:"packages"`
	Users    []UserTest    `json:"users,omitempty"`
	// Setuid lists every path that may carry the setuid or setgid bit. A path beyond the list fails; nil allows none.
	Setuid []string `json:"setuid,omitempty"`
	// NonRoot requires that the image's configured user is not root.
	NonRoot bool `json:"nonRoot,omitempty"`
}

// CommandTest runs a command in the built image as the image's own user, without a shell.
type CommandTest struct {
	Name   string   `json:"name"`
	Run    []string `json:"run"`
	User   string   `json:"user,omitempty"` // uid or uid:gid; empty = the image's user
	Exit   int      `json:"exit"`
	Stdout string   `json:"stdout,omitempty"` // regular expression (RE2) that must match; empty = any
	Stderr string   `json:"stderr,omitempty"` // likewise
	// Timeout in seconds; 0 means 30.
	Timeout int      `json:"timeout,omitempty"`
	Where   Position `json:"where"`
}

// FileTest states what a path is, or that it is not there.
type FileTest struct {
	Path     string   `json:"path"`
	Absent   bool     `json:"absent,omitempty"`
	Type     string   `json:"type,omitempty"`  // file, directory or symlink; empty = any
	Mode     string   `json:"mode,omitempty"`  // four octal digits; empty = any
	Owner    string   `json:"owner,omitempty"` // user:group by name; empty = any
	Contains string   `json:"contains,omitempty"`
	Where    Position `json:"where"`
}

// PackageTest states which packages are installed and which are not.
type PackageTest struct {
	Present []string `json:"present,omitempty"`
	Absent  []string `json:"absent,omitempty"`
}

// UserTest states an account.
type UserTest struct {
	Name  string `json:"name"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Home  string `json:"home,omitempty"`
	Shell string `json:"shell,omitempty"`
}

// TestResult is the outcome of one acceptance test.
type TestResult struct {
	Name     string   `json:"name"` // "command: prints its release", "setuid: /usr/bin/su"
	Platform Platform `json:"platform"`
	Passed   bool     `json:"passed"`
	Detail   string   `json:"detail,omitempty"` // what was expected and what was found; empty when passed
	Seconds  float64  `json:"seconds,omitempty"`
}
