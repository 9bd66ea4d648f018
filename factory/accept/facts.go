package accept

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// facts is what the script found out.
type facts struct {
	Files    []fileFact          `json:"files"`
	Read     map[string]readFact `json:"read"`
	Setuid   *setuidFact         `json:"setuid"`
	Commands []commandFact       `json:"commands"`

	missing string // why there is nothing at all; empty = there is
}

type fileFact struct {
	Error    string `json:"error"`
	Exists   bool   `json:"exists"`
	Type     string `json:"type"`
	Mode     uint32 `json:"mode"`
	UID      int64  `json:"uid"`
	GID      int64  `json:"gid"`
	Contains bool   `json:"contains"`
}

type readFact struct {
	Error string `json:"error"`
	Data  []byte `json:"data"`
}

type setuidFact struct {
	Paths  []string `json:"paths"`
	More   int      `json:"more"` // paths beyond those listed
	Errors []string `json:"errors"`
}

type commandFact struct {
	Error   string  `json:"error"` // it could not be started
	Ended   bool    `json:"ended"` // within its time
	Exit    int     `json:"exit"`
	Signal  int     `json:"signal"`
	Stdout  []byte  `json:"stdout"`
	Stderr  []byte  `json:"stderr"`
	Dropped bool    `json:"dropped"` // output was too long and is not whole
	Seconds float64 `json:"seconds"`
}

func decode(r factory.StepResult) facts {
	why := func(what string) facts {
		if last := bytes.TrimSpace(r.Stderr); len(last) > 0 {
			what += ": " + quote(last[max(0, bytes.LastIndexByte(last, '\n')):])
		}
		return facts{missing: what}
	}
	data, ok := r.Output[resultFile]
	switch {
	case r.Exit != 0:
		return why(fmt.Sprintf("the test program died with exit %d", r.Exit))
	case !ok:
		return why("the test program left no results")
	}
	var f facts
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil || dec.More() {
		return why("the test program's results are damaged")
	}
	return f
}

// account is a line of /etc/passwd.
type account struct {
	name, home, shell string
	uid, gid          int64
}

func (f facts) accounts() ([]account, error) {
	rows, err := f.table(passwdFile, 7)
	var all []account
	for _, r := range rows {
		uid, badUID := strconv.ParseInt(r[2], 10, 64)
		gid, badGID := strconv.ParseInt(r[3], 10, 64)
		if badUID == nil && badGID == nil {
			all = append(all, account{name: r[0], uid: uid, gid: gid, home: r[5], shell: r[6]})
		}
	}
	return all, err
}

// owner returns user:group by name, or by number where the image has no name for it.
func (f facts) owner(uid, gid int64) (string, error) {
	users, err := f.table(passwdFile, 7)
	if err != nil {
		return "", err
	}
	groups, err := f.table(groupFile, 4)
	return nameOf(users, uid) + ":" + nameOf(groups, gid), err
}

func nameOf(rows [][]string, id int64) string {
	number := strconv.FormatInt(id, 10)
	for _, r := range rows {
		if r[2] == number {
			return r[0]
		}
	}
	return number
}

// table splits the lines of a file with colons; lines with another number of columns do not count.
func (f facts) table(file string, columns int) ([][]string, error) {
	read, ok := f.Read[file]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s was not read", file)
	case read.Error != "":
		return nil, fmt.Errorf("%s: %s", file, read.Error)
	}
	var rows [][]string
	for l := range strings.Lines(string(read.Data)) {
		if r := strings.Split(strings.TrimSuffix(l, "\n"), ":"); len(r) == columns && !strings.HasPrefix(l, "#") {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// database is where distributions keep their list of packages. Another format is another entry.
type database struct {
	path string
	ask  func(*request)                               // has the script read it
	read func(data []byte) (map[string]string, error) // state by package; "installed" is the good one
}

var databases = map[factory.Format]database{
	factory.Deb: {dpkgFile, func(r *request) { r.Read = append(r.Read, dpkgFile) }, dpkgStatus},
	factory.RPM: {rpmFolder, func(r *request) { r.RPM = newRPMAsk() }, rpmNames},
}

func (f facts) packages(distro factory.Distro) (map[string]string, error) {
	db, ok := databases[distro.Format()]
	if !ok {
		return nil, fmt.Errorf("the packages of family %q cannot be read", distro.Family)
	}
	read, ok := f.Read[db.path]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s was not read", db.path)
	case read.Error != "":
		return nil, fmt.Errorf("%s: %s", db.path, read.Error)
	}
	return db.read(read.Data)
}

const dpkgFile = "/var/lib/dpkg/status"

// dpkgStatus returns the state of each package in a dpkg status file: the third word of its Status field. Of several
// architectures of a package the best state counts.
func dpkgStatus(data []byte) (map[string]string, error) {
	states := map[string]string{}
	var name, state string
	end := func() {
		if name != "" && states[name] != "installed" {
			states[name] = state
		}
		name, state = "", ""
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		switch {
		case strings.TrimSpace(lines.Text()) == "":
			end()
		case strings.EqualFold(field, "Package"):
			name = strings.TrimSpace(value)
		case strings.EqualFold(field, "Status"):
			if words := strings.Fields(value); len(words) == 3 {
				state = words[2]
			}
		}
	}
	end()
	return states, lines.Err()
}
