package oci

import "testing"

// The same root must become the same bytes until Recipe says otherwise: releases are refreshed and reproduced by it.
func TestRecipe(t *testing.T) {
	t.Parallel()
	recipes := map[int]string{
		1: "sha256:cb872cc9711596d1a1cfca7758bd183900ae5e66e589fb38ba33b1708ef8584e",
	}
	if got := string(pack(t, debian()).Artifact.Digest); got != recipes[Recipe] {
		t.Errorf("this root is %s, recipe %d made %s: raise Recipe and note the new digest here", got, Recipe, recipes[Recipe])
	}
}
