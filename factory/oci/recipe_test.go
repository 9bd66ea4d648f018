package oci

import "testing"

// The same root must become the same bytes until Recipe says otherwise: releases are refreshed and reproduced by it.
func TestRecipe(t *testing.T) {
	t.Parallel()
	recipes := map[int]string{
		2: "sha256:c19f58d290584d39e82b9129f05c76121a4e424b4b04e1a66bc3a8415f7e5ab1",
	}
	if got := string(pack(t, debian()).Artifact.Digest); got != recipes[Recipe] {
		t.Errorf("this root is %s, recipe %d made %s: raise Recipe and note the new digest here", got, Recipe, recipes[Recipe])
	}
}
