package oci

import "testing"

// The same root must become the same bytes until Recipe says otherwise: releases are refreshed and reproduced by it.
func TestRecipe(t *testing.T) {
	t.Parallel()
	recipes := map[int]string{
		1: "sha256:f8f168f399397c39c43b9eb0171076d8c51aa31be99371ccae911fae45e0510b",
	}
	if got := string(pack(t, debian()).Artifact.Digest); got != recipes[Recipe] {
		t.Errorf("this root is %s, recipe %d made %s: raise Recipe and note the new digest here", got, Recipe, recipes[Recipe])
	}
}
