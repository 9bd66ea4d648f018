package definition_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imagefactory/imagefactory/factory/definition"
)

// A thousand images in a graph that is six deep, below the real debian-12.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	for _, part := range []string{"ansible", "baseimages"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(repository, part))); err != nil {
			b.Fatal(err)
		}
	}
	owners, err := os.ReadFile(filepath.Join(dir, "baseimages/owners.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	code, err := os.ReadFile(filepath.Join(repository, "CODEOWNERS"))
	if err != nil {
		b.Fatal(err)
	}
	put := func(name, text string) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 1000 {
		name, from := fmt.Sprintf("child%d", i), "debian-12"
		if i%5 > 0 {
			from = fmt.Sprintf("child%d", i-1)
		}
		put("baseimages/"+name+"/image.yaml", "from: "+from+"\nsummary: A child\npackages: {include: [python3]}\nconfig: {env: {A: a}, labels: {org.example.a: b}}\n")
		put("baseimages/"+name+"/tests.yaml", "commands:\n  - {name: works, run: [python3, --version]}\npackages: {present: [python3]}\n")
		owners = append(owners, "  "+name+": platform-linux\n"...)
		code = append(code, "/baseimages/"+name+"/ @example/platform-linux\n"...)
	}
	put("baseimages/owners.yaml", string(owners))
	put("CODEOWNERS", string(code))
	for b.Loop() {
		if set, err := definition.Load(dir); err != nil || len(set.Images) < 1000 {
			b.Fatal(len(set.Images), err)
		}
	}
}
