package definition_test

import (
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
)

// Each broken image is told what is wrong with it, and not what is wrong with another one; together they are told everything.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit map[string][2]string // file → old, new
		want map[string][]string  // image → the beginnings of what its problems say, in order
	}{
		"two of their own": {map[string][2]string{imageYAML: {"summary:", "sumary:"}, "baseimages/box/image.yaml": {"summary:", "summery:"}},
			map[string][]string{"small": {`key "summary" is missing`, `unknown key "sumary"`}, "box": {`key "summary" is missing`, `unknown key "summery"`}}},
		"tests": {map[string][2]string{testsYAML: {"setuid:", "setud:"}, "baseimages/box/image.yaml": {"summary:", "summery:"}},
			map[string][]string{"small": {`unknown key "setud"`}, "box": {`key "summary" is missing`, `unknown key "summery"`}}},
		"a shared file": {map[string][2]string{sharedYAML: {"nonRoot:", "nonRot:"}},
			map[string][]string{"small": {`unknown key "nonRot"`}, "box": {`unknown key "nonRot"`}}},
		"what is nobody's": {map[string][2]string{imageYAML: {"summary:", "sumary:"}, "CODEOWNERS": {"# who reviews what\n", "/baseimages/gone/ @example/linux\n"}},
			map[string][]string{"small": {`key "summary" is missing`, `unknown key "sumary"`, `"/baseimages/gone/" names no image`}}},
		"a line in CODEOWNERS": {map[string][2]string{"CODEOWNERS": {"/baseimages/small/ @example/linux\n", ""}, "baseimages/box/image.yaml": {"summary:", "summery:"}},
			map[string][]string{"small": {"no line for /baseimages/small/"}, "box": {`key "summary" is missing`, `unknown key "summery"`}}},
		"nobody owns it": {map[string][2]string{ownersYAML: {"  small: linux\n", ""}, "CODEOWNERS": {"/baseimages/small/ @example/linux\n", ""}},
			map[string][]string{"small": {"nobody owns small"}}},
		"unknown team": {map[string][2]string{ownersYAML: {"  small: linux\n", "  small: lunix\n"}},
			map[string][]string{"small": {`unknown team "lunix"`}}},
		"unreadable owners": {map[string][2]string{ownersYAML: {"teams:", "- teams:"}},
			map[string][]string{"small": {"is no YAML"}, "box": {"is no YAML"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := fixture()
			for file, e := range c.edit {
				if !strings.Contains(files[file], e[0]) {
					t.Fatalf("%s does not contain %q", file, e[0])
				}
				files[file] = strings.Replace(files[file], e[0], e[1], 1)
			}
			set, err := load(t, files)
			told := map[string]bool{}
			for image, want := range c.want {
				all := factory.Problems(set.Faults[image])
				for i, p := range all {
					told[p.Error()] = true
					if i < len(want) && !strings.HasPrefix(p.What, want[i]) {
						t.Errorf("%s: %q, expected %q", image, p.What, want[i])
					}
				}
				if len(all) != len(want) {
					t.Errorf("%s: %v\nexpected %q", image, set.Faults[image], want)
				}
			}
			if len(set.Faults) != len(c.want) {
				t.Errorf("faults: %v", set.Faults)
			}
			for _, p := range factory.Problems(err) {
				if !told[p.Error()] {
					t.Errorf("not told of any image: %v", p)
				}
			}
		})
	}
}
