package standin

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
)

// modules is the repository's modules.yaml, nil when it has no modular package.
func (a *Archive) modules(repo *repository) ([]byte, error) {
	streams := map[string][]*published{}
	var order []string
	for _, p := range repo.packages {
		if p.Module != "" {
			if streams[p.Module] == nil {
				order = append(order, p.Module)
			}
			streams[p.Module] = append(streams[p.Module], p)
		}
	}
	var b bytes.Buffer
	for _, label := range order {
		part := strings.Split(label, ":")
		if len(part) != 4 {
			return nil, fmt.Errorf("module %q: want name:stream:version:context", label)
		}
		fmt.Fprintf(&b, "---\ndocument: modulemd\nversion: 2\ndata:\n  name: %s\n  stream: %q\n  version: %s\n  context: %s\n  arch: %s\n", part[0], part[1], part[2], part[3], repo.machine)
		fmt.Fprintf(&b, "  summary: A stand-in module\n  description: >-\n    A stand-in.\n  license:\n    module: [MIT]\n  dependencies:\n  - requires:\n      platform: [el9]\n  artifacts:\n    rpms:\n")
		for _, p := range streams[label] {
			fmt.Fprintf(&b, "    - %s-%s:%s-%s.%s\n", p.Name, cmp.Or(p.epoch, "0"), p.version, p.release, p.arch)
		}
		b.WriteString("...\n")
	}
	return b.Bytes(), nil
}
