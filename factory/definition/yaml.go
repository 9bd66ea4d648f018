package definition

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/imagefactory/imagefactory/factory"
)

// MaxFile is the size in bytes beyond which a definition file is refused unread.
const MaxFile = 1 << 20

// The parser recurses once per key and per level, and copies what it has with each key: these keep both far below
// anything that hurts, and far above anything that a person writes.
const (
	maxKeys   = 6000 // in one file
	maxItems  = 8192
	maxFlow   = 16  // [ and { within each other
	maxIndent = 128 // columns
	maxDashes = 8   // "- - -" on one line
)

type nodeKind string

const (
	nullNode  nodeKind = "nothing"
	boolNode  nodeKind = "a truth value"
	intNode   nodeKind = "a whole number"
	floatNode nodeKind = "a number"
	textNode  nodeKind = "text"
	listNode  nodeKind = "a list"
	tableNode nodeKind = "a mapping"
	otherNode nodeKind = "something else"
)

// node is one value of a YAML file, with its place.
type node struct {
	at     factory.Position
	kind   nodeKind
	text   string  // a scalar as it was written, without quotes
	whole  int64   // of an intNode
	number float64 // of a floatNode
	items  []*node
	fields []field
}

// field is one key of a mapping, in the order of the file.
type field struct {
	key   string
	at    factory.Position
	value *node
}

// get returns the value of a key, nil when there is none.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// parse reads one YAML document. The parser is somebody else's and is fed by strangers: a panic in it is a Problem too.
func parse(file string, b []byte) (root *node, err error) {
	here := factory.Position{File: file, Line: 1, Column: 1}
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, problem(here, "", "is no YAML that can be read: %v", r)
		}
	}()
	if err := checkBytes(here, b); err != nil {
		return nil, err
	}
	tokens := lexer.Tokenize(string(b))
	if err := checkTokens(file, tokens); err != nil {
		return nil, err
	}
	doc, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxProblem(here, err)
	}
	var body ast.Node
	for _, d := range doc.Docs {
		switch {
		case d.Body == nil || d.Body.Type() == ast.CommentType:
		case body != nil:
			return nil, problem(position(file, d.Body.GetToken()), "keep one document", "a second document in one file")
		default:
			body = d.Body
		}
	}
	if body == nil {
		return &node{at: here, kind: nullNode}, nil
	}
	return convert(file, body), nil
}

func checkBytes(here factory.Position, b []byte) error {
	switch {
	case len(b) > MaxFile:
		return problem(here, "", "%d bytes, expected at most %d", len(b), MaxFile)
	case !utf8.Valid(b):
		return problem(here, "save it as UTF-8", "not UTF-8 text")
	}
	for i, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			line := 1 + strings.Count(string(b[:i]), "\n")
			return problem(factory.Position{File: here.File, Line: line}, "remove it", "control character %#02x, expected text", c)
		}
	}
	return nil
}

// checkTokens refuses what could make the parser recurse, expand or copy without end.
func checkTokens(file string, tokens token.Tokens) error {
	var keys, items, flow, dashes, line int
	for _, t := range tokens {
		at := position(file, t)
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
			if t.Type != token.CommentType && t.Position.Column > maxIndent {
				return problem(at, "", "indented by %d columns, expected at most %d", t.Position.Column-1, maxIndent)
			}
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return problem(at, "write what images share once in baseimages/shared and pull it with use", "anchors, aliases and merge keys are not allowed")
		case token.TagType, token.DirectiveType, token.MappingKeyType:
			return problem(at, "write plain keys and values", "tags, directives and ? keys are not allowed")
		case token.InvalidType:
			return problem(at, "", "is no YAML: %s", firstLine(t.Error))
		case token.MappingValueType:
			keys++
		case token.SequenceEntryType:
			items, dashes = items+1, dashes+1
		case token.CollectEntryType:
			items++
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		switch {
		case flow > maxFlow || dashes > maxDashes:
			return problem(at, "", "nested too deep")
		case keys > maxKeys || items > maxItems:
			return problem(at, "", "more than %d keys or %d list entries in one file", maxKeys, maxItems)
		}
	}
	return nil
}

func syntaxProblem(here factory.Position, err error) error {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		if syntax.Token != nil {
			here = position(here.File, syntax.Token)
		}
		return problem(here, "", "is no YAML: %s", firstLine(syntax.Message))
	}
	return problem(here, "", "is no YAML: %s", firstLine(err.Error()))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.ToValidUTF8(s[:min(len(s), 200)], "")
}

func position(file string, t *token.Token) factory.Position {
	if t == nil || t.Position == nil {
		return factory.Position{File: file, Line: 1, Column: 1}
	}
	return factory.Position{File: file, Line: t.Position.Line, Column: t.Position.Column}
}

func convert(file string, from ast.Node) *node {
	n := &node{at: position(file, from.GetToken()), kind: otherNode}
	switch v := from.(type) {
	case *ast.NullNode:
		n.kind = nullNode
	case *ast.BoolNode:
		n.kind, n.text = boolNode, strconv.FormatBool(v.Value)
	case *ast.IntegerNode:
		n.kind, n.text = intNode, v.Token.Value
		switch i := v.Value.(type) {
		case int64:
			n.whole = i
		case uint64:
			n.whole = int64(min(i, math.MaxInt64))
		}
	case *ast.FloatNode:
		n.kind, n.text, n.number = floatNode, v.Token.Value, v.Value
	case *ast.StringNode:
		n.kind, n.text = textNode, v.Value
	case *ast.LiteralNode:
		n.kind, n.text = textNode, v.Value.Value
	case *ast.SequenceNode:
		n.kind = listNode
		for _, item := range v.Values {
			n.items = append(n.items, convert(file, item))
		}
	case *ast.MappingValueNode:
		n.kind, n.at = tableNode, position(file, v.Key.GetToken())
		n.fields = []field{convertField(file, v)}
	case *ast.MappingNode:
		n.kind = tableNode
		for i, value := range v.Values {
			if i == 0 && !v.IsFlowStyle {
				n.at = position(file, value.Key.GetToken())
			}
			n.fields = append(n.fields, convertField(file, value))
		}
	}
	return n
}

func convertField(file string, v *ast.MappingValueNode) field {
	key := v.Key.GetToken()
	return field{key: key.Value, at: position(file, key), value: convert(file, v.Value)}
}

// problem makes the one kind of error this package returns for what people wrote.
func problem(at factory.Position, hint, format string, args ...any) *factory.Problem {
	return &factory.Problem{Kind: factory.ErrInvalid, Where: at, Hint: hint, What: fmt.Sprintf(format, args...)}
}
