package buildkit

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// A root without a shell borrows the toolbox's; what it borrows is read-only.
func TestStepWithAShell(t *testing.T) {
	t.Parallel()
	c := withToolbox(t)
	s := factory.Step{Name: "s", Root: factory.Root{Platform: amd64}, Args: []string{"x"}, Shell: true}
	exec, err := c.exec(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	lent := factory.ToolboxShell()
	for _, e := range execs(ops(t, exec.Root())) {
		for _, m := range e.Mounts {
			if from, ok := lent[m.Dest]; ok && m.Readonly && "/"+m.Selector == "/"+from {
				delete(lent, m.Dest)
			}
			if m.Dest == factory.ToolboxMount {
				t.Error("the toolbox itself was not asked for")
			}
		}
	}
	if len(lent) > 0 {
		t.Errorf("not lent: %v", lent)
	}
	s.InToolbox = true
	if _, err := c.exec(t.Context(), s, ""); err == nil {
		t.Error("a shell for a step in the toolbox")
	}
}
