package downstream

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/imagefactory/imagefactory/factory"
)

const (
	ours   = "registry.example.com/base/debian-12"
	oldTag = "20261120-0a0a0a0a-prod"
	newTag = "20261123-1a2b3c4d-prod"
)

var (
	oldDigest = "sha256:" + strings.Repeat("0a", 32)
	newDigest = "sha256:" + strings.Repeat("1b", 32)
	target    = factory.Ref{Repository: ours, Tag: newTag, Digest: factory.Digest(newDigest)}
	pinnedNew = ours + ":" + newTag + "@" + newDigest
)

func TestMove(t *testing.T) {
	t.Parallel()
	old := ours + ":" + oldTag + "@" + oldDigest
	for name, tt := range map[string]struct {
		in, want string // want empty = untouched
		lines    []int
		has      []int
		left     int
	}{
		"tag and digest":         {in: "FROM " + old + "\nRUN x\n", want: "FROM " + pinnedNew + "\nRUN x\n", lines: []int{1}},
		"tag":                    {in: "from " + ours + ":latest", want: "from " + pinnedNew, lines: []int{1}},
		"bare":                   {in: "FROM " + ours + "\n", want: "FROM " + pinnedNew + "\n", lines: []int{1}},
		"digest only":            {in: "FROM " + ours + "@" + oldDigest + "\n", want: "FROM " + ours + "@" + newDigest + "\n", lines: []int{1}},
		"platform and stage":     {in: "FROM --platform=$BUILDPLATFORM " + old + " AS build\n", want: "FROM --platform=$BUILDPLATFORM " + pinnedNew + " AS build\n", lines: []int{1}},
		"CRLF, tabs, no end":     {in: "\tFROM\t" + old + "  \r\nFROM " + old + " as b", want: "\tFROM\t" + pinnedNew + "  \r\nFROM " + pinnedNew + " as b", lines: []int{1, 2}},
		"two stages, one other":  {in: "FROM " + old + " AS a\nFROM scratch\nFROM a\nFROM " + old + "\n", want: "FROM " + pinnedNew + " AS a\nFROM scratch\nFROM a\nFROM " + pinnedNew + "\n", lines: []int{1, 4}},
		"has it":                 {in: "FROM " + ours + ":another@" + newDigest + "\n", has: []int{1}},
		"others of that name":    {in: "FROM " + ours + "-python:1\nFROM x/" + ours + "\nFROM " + ours + "/sub\nFROM mirror.example.com/base/debian-12\n"},
		"argument":               {in: "ARG BASE=" + old + "\nFROM ${BASE}\nFROM " + ours + ":$TAG\n", left: 2},
		"comment":                {in: "# FROM " + old + "\n  # FROM " + old + "\nFROM scratch\n"},
		"continued":              {in: "FROM \\\n  # a comment\n\n  " + old + " \\\n AS x\n", want: "FROM \\\n  # a comment\n\n  " + pinnedNew + " \\\n AS x\n", lines: []int{1}},
		"broken in the name":     {in: "FROM registry.exam\\\nple.com/base/debian-12:1\n", left: 1},
		"in a RUN":               {in: "FROM scratch\nRUN echo \\\nFROM " + old + "\n"},
		"escaped escape":         {in: "FROM scratch\nRUN echo \\\\\nFROM " + old + "\n", want: "FROM scratch\nRUN echo \\\\\nFROM " + pinnedNew + "\n", lines: []int{3}},
		"escape directive":       {in: "# escape=`\nFROM scratch\nRUN c:\\\nFROM " + old + "\nRUN `\nFROM " + old + "\n", want: "# escape=`\nFROM scratch\nRUN c:\\\nFROM " + pinnedNew + "\nRUN `\nFROM " + old + "\n", lines: []int{4}},
		"late escape directive":  {in: "#\n# escape=`\nRUN `\nFROM " + old + "\n", want: "#\n# escape=`\nRUN `\nFROM " + pinnedNew + "\n", lines: []int{4}},
		"heredoc":                {in: "FROM scratch\nRUN <<EOF cat <<-'B'\nFROM " + old + "\nEOF\nFROM " + old + "\n\tB\nFROM " + old + "\n", want: "FROM scratch\nRUN <<EOF cat <<-'B'\nFROM " + old + "\nEOF\nFROM " + old + "\n\tB\nFROM " + pinnedNew + "\n", lines: []int{7}},
		"heredoc in ONBUILD":     {in: "FROM scratch\nONBUILD COPY <<\"E F\" /x\nFROM " + old + "\nE F\n"},
		"no heredocs":            {in: "FROM scratch\nRUN [\"a\", \"<<EOF\"]\nRUN echo \"<< EOF\" $((1 << 2)) a<<EOF\nONBUILD LABEL <<EOF\nLABEL <<EOF\nFROM " + old + "\n", want: "FROM scratch\nRUN [\"a\", \"<<EOF\"]\nRUN echo \"<< EOF\" $((1 << 2)) a<<EOF\nONBUILD LABEL <<EOF\nLABEL <<EOF\nFROM " + pinnedNew + "\n", lines: []int{6}},
		"heredoc without an end": {in: "FROM " + old + "\nRUN --mount=type=cache <<EOF\nFROM " + old + "\n", want: "FROM " + pinnedNew + "\nRUN --mount=type=cache <<EOF\nFROM " + old + "\n", lines: []int{1}, left: 1},
		"byte order mark":        {in: "\ufeffFROM " + old, want: "\ufeffFROM " + pinnedNew, lines: []int{1}},
		"no Dockerfile":          {in: "FROM " + old + " and more\nFROM\n\x00\xff\\"},
		"nothing":                {},
	} {
		m := move([]byte(tt.in), target)
		if tt.want == "" {
			tt.want = tt.in
		}
		if string(m.text) != tt.want || !slices.Equal(m.lines, tt.lines) || !slices.Equal(m.has, tt.has) || len(m.left) != tt.left {
			t.Errorf("%s: lines %v, has %v, left %q\n%s\nwant\n%s", name, m.lines, m.has, m.left, m.text, tt.want)
		}
	}
}

// stages is what BuildKit itself sees; nil when it refuses the file.
func stages(text []byte) (bases []string, rest string) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, ""
	}
	all, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, ""
	}
	var b strings.Builder
	for _, n := range parsed.AST.Children {
		if !strings.EqualFold(n.Value, "from") {
			b.WriteString(n.Dump() + "\n")
		}
	}
	for _, s := range all {
		bases = append(bases, s.BaseName)
	}
	return bases, b.String()
}

func FuzzMove(f *testing.F) {
	old := ours + ":" + oldTag + "@" + oldDigest
	for _, seed := range []string{
		"FROM " + old + " AS a\nFROM a\n", "# escape=`\nFROM `\n " + old, "FROM scratch\nRUN <<EOF cat <<-'B'\nFROM " + old + "\nEOF\n\tB\nFROM " + old + "\n",
		"FROM --platform=x " + ours + "\r\n", "FROM scratch\nONBUILD RUN <<A\nA\nFROM " + ours + ":1", "FROM scratch\nRUN \"<<A\" ${x:-<<B }\nFROM " + ours, "\xef\xbb\xbf# syntax=a\n#escape = \\\nFROM " + ours + "@" + newDigest,
		"FROM scratch\nRUN [\"<<A\"] \\\n # c\n\\\nFROM " + ours + "\n", "FROM \"" + ours + "\"\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m := move(text, target)
		again := move(m.text, target)
		if len(again.lines) > 0 || !bytes.Equal(again.text, m.text) || len(m.lines) == 0 && !bytes.Equal(m.text, text) {
			t.Fatalf("not stable:\n%q\n%q\n%q", text, m.text, again.text)
		}
		if bytes.Count(m.text, []byte("\n")) != bytes.Count(text, []byte("\n")) {
			t.Fatalf("lines came or went:\n%q\n%q", text, m.text)
		}
		before, rest := stages(text)
		if before == nil {
			return
		}
		after, restAfter := stages(m.text)
		if len(after) != len(before) || rest != restAfter {
			t.Fatalf("BuildKit sees something else changed:\n%q\n%q", text, m.text)
		}
		for i, b := range before {
			if repository, _, _ := parts(b); repository != ours && after[i] != b {
				t.Errorf("%q became %q", b, after[i])
			}
		}
		for _, b := range named(text, ours) {
			if !slices.Contains(before, b) && !strings.ContainsAny(b, "\"'\\$") {
				t.Errorf("BuildKit does not know %q of\n%q", b, text)
			}
		}
		_, lost := readDockerfile(text)
		for i, b := range after {
			if repository, _, digest := parts(b); repository == ours && digest != newDigest && lost == 0 && len(m.left) == 0 && bytes.Contains(text, []byte(before[i])) {
				t.Errorf("%q was not moved in\n%q", b, text)
			}
		}
	})
}
