package accept

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

//go:embed rpmdb.py
var rpmScript []byte

// rpmFolder is where rpm keeps its database, in one of several forms.
const rpmFolder = "/var/lib/rpm"

// rpmAsk asks the script for the packages in rpm's database, and says how to read a Berkeley database.
type rpmAsk struct {
	Folder string   `json:"folder"`
	Verify []string `json:"verify"`
	Dump   []string `json:"dump"`
}

func newRPMAsk() *rpmAsk {
	return &rpmAsk{
		Folder: rpmFolder,
		Verify: factory.ToolboxProgram("/usr/bin/db5.3_verify", "-q"),
		Dump:   factory.ToolboxProgram("/usr/bin/db5.3_dump"),
	}
}

// rpmNames reads the script's list, a name in each line. What is in the database is installed, except the keys that rpm
// keeps there too. A database without any package is an error: what is to be absent would be.
func rpmNames(data []byte) (map[string]string, error) {
	states := map[string]string{}
	for name := range strings.SplitSeq(string(data), "\n") {
		if name != "" && name != "gpg-pubkey" {
			states[name] = "installed"
		}
	}
	if len(states) == 0 {
		return nil, fmt.Errorf("%s: lists no package", rpmFolder)
	}
	return states, nil
}
