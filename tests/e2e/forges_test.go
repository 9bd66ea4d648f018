package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagefactory/imagefactory/tests/forge"
)

// hamlet is the servers of one script.
type hamlet struct {
	git  *forge.GitHub
	repo *forge.Repo
	lab  *forge.GitLab
	hook *forge.Hook
}

// hamlets are those of all scripts, by their folder.
var hamlets sync.Map

const forgeSecret = "0123456789abcdef0123456789abcdef"

func forges(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: forges CONFIG")
	}
	h := &hamlet{git: &forge.GitHub{Token: forgeSecret}, hook: &forge.Hook{}, lab: &forge.GitLab{Token: forgeSecret, Read: "reads-" + forgeSecret, Projects: map[string][]string{"shop/web": {"main"}}}}
	h.repo = h.git.Add("payments/api", map[string]string{"Dockerfile": "FROM " + ts.Getenv("HUB") + "/debian-12@sha256:" + forgeSecret + forgeSecret + "\n"})
	config := "servers:\n"
	for id, server := range map[string]http.Handler{"git": h.git, "hooks": h.hook, "lab": h.lab} {
		s := httptest.NewServer(server)
		ts.Defer(s.Close)
		config += fmt.Sprintf("  %s: {url: %s, token: \"env:FORGE_SECRET\", per-minute: 6000", id, s.URL)
		if id == "lab" {
			config += ", read-token: \"env:LAB_READS\""
		}
		config += "}\n"
	}
	ts.Setenv("FORGE_SECRET", forgeSecret)
	ts.Setenv("LAB_READS", h.lab.Read)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(config), 0o600))
	hamlets.Store(ts.Getenv("WORK"), h)
}

func inHamlet(ts *testscript.TestScript) *hamlet {
	h, there := hamlets.Load(ts.Getenv("WORK"))
	if !there {
		ts.Fatalf("no forges")
	}
	return h.(*hamlet)
}

func pipeline(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pipeline N STATUS")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	inHamlet(ts).lab.Becomes(n, args[1])
}

// seenByForges writes how many messages came to each of them, and how many different ones these are by their keys; and which
// pull requests there are, and whether they move to DIGEST.
func seenByForges(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: seen FILE")
	}
	h := inHamlet(ts)
	keys, came := map[string]bool{}, 0
	for _, p := range h.lab.Pipelines() {
		keys[p.Variables["FACTORY_MESSAGE_KEY"]] = true
	}
	for _, n := range h.hook.Counts() {
		came += n
	}
	text := fmt.Sprintf("%d pipelines of %d keys\n%d webhooks of %d keys\n", len(h.lab.Pipelines()), len(keys), came, len(h.hook.Counts()))
	for _, p := range h.repo.Pulls() {
		has := map[bool]string{true: "with", false: "without"}[strings.Contains(h.repo.File(p.Head, "Dockerfile"), ts.Getenv("DIGEST"))]
		text += fmt.Sprintf("request %d is %s, %s the digest\n", p.Number, p.State, has)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func firstID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: id NAME")
	}
	var all []struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
	if len(all) == 0 {
		ts.Fatalf("the list is empty")
	}
	ts.Setenv(args[0], all[0].ID)
}
