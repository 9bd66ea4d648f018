package openscap

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// What a document may hold. Far beyond what real content has, and small enough that a hostile one costs little.
const (
	maxDepth = 200     // open elements
	maxToken = 1 << 20 // bytes of one tag or text
	maxRules = 10000
	maxRefs  = 100  // CIS ids of one rule
	maxText  = 1000 // bytes kept of a title or message
)

const (
	xccdf   = "http://checklists.nist.gov/xccdf/1.2"
	cisRefs = "https://www.cisecurity.org/benchmark/"
)

// result is what one evaluation says, and about what.
type result struct {
	benchmark string // XCCDF id
	version   string // of the content
	tool      string // version of OpenSCAP
	profile   string
	rules     []factory.RuleOutcome // what was evaluated, sorted
}

// parseARF reads the result of an evaluation. It takes what it knows of the rules from the content that is embedded before it.
func parseARF(b []byte) (result, error) {
	s := scan{known: map[string]factory.RuleOutcome{}, selected: map[string]map[string]bool{}}
	if err := s.read(b); err != nil {
		return result{}, err
	}
	if !s.tested {
		return result{}, errors.New("there is no test result")
	}
	for i, r := range s.results {
		k := s.known[r.Rule]
		s.results[i].Title, s.results[i].Controls, s.results[i].Severity = k.Title, k.Controls, cmp.Or(r.Severity, k.Severity)
	}
	slices.SortFunc(s.results, byRule)
	for i := 1; i < len(s.results); i++ {
		if s.results[i].Rule == s.results[i-1].Rule {
			return result{}, fmt.Errorf("rule %.120s has two results", s.results[i].Rule)
		}
	}
	return result{benchmark: s.benchmark, version: s.version, tool: s.tool, profile: s.profile, rules: s.results}, nil
}

func byRule(a, b factory.RuleOutcome) int { return cmp.Compare(a.Rule, b.Rule) }

// scan reads a data stream or an ARF from its beginning to the end of the first test result.
type scan struct {
	dec   *xml.Decoder
	in    *rationed
	depth int

	benchmark, version, tool, profile string
	known                             map[string]factory.RuleOutcome // what the content says of its rules
	selected                          map[string]map[string]bool     // rules by profile
	results                           []factory.RuleOutcome
	tested                            bool
}

// rationed gives out only so many bytes for each token: a tag with a million attributes would otherwise be built in memory.
type rationed struct {
	*bytes.Reader
	left int
}

func (r *rationed) ReadByte() (byte, error) {
	if r.left--; r.left < 0 {
		return 0, fmt.Errorf("a tag or text of more than %d bytes", maxToken)
	}
	return r.Reader.ReadByte()
}

// token returns the next token. It ends with io.EOF.
func (s *scan) token() (xml.Token, error) {
	s.in.left = maxToken
	t, err := s.dec.Token()
	switch t.(type) {
	case xml.StartElement:
		if s.depth++; s.depth > maxDepth {
			return nil, fmt.Errorf("more than %d nested elements", maxDepth)
		}
	case xml.EndElement:
		s.depth--
	}
	return t, err
}

func (s *scan) read(b []byte) error {
	s.in = &rationed{Reader: bytes.NewReader(b)}
	s.dec = xml.NewDecoder(s.in)
	for !s.tested {
		t, err := s.token()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if e, ok := t.(xml.StartElement); ok && e.Name.Space == xccdf {
			if err := s.element(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// element reads what is known by its name, to its end.
func (s *scan) element(e xml.StartElement) error {
	switch e.Name.Local {
	case "Benchmark":
		s.benchmark = attr(e, "id")
	case "Profile":
		return s.readProfile(attr(e, "id"))
	case "Rule":
		return s.rule(e)
	case "TestResult":
		s.version = attr(e, "version")
		s.tool = strings.TrimPrefix(attr(e, "test-system"), "cpe:/a:redhat:openscap:")
		s.tested = true
		return s.children(func(e xml.StartElement) error {
			switch e.Name.Local {
			case "profile":
				s.profile = attr(e, "idref")
			case "rule-result":
				return s.ruleResult(e)
			}
			return s.skip()
		})
	}
	return nil
}

// children calls f for every element directly in the current one; f reads it to its end.
func (s *scan) children(f func(xml.StartElement) error) error {
	for {
		t, err := s.token()
		if err != nil {
			return cut(err)
		}
		switch t := t.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := f(t); err != nil {
				return err
			}
		}
	}
}

// skip reads to the end of the current element. It does not recurse.
func (s *scan) skip() error {
	for end := s.depth - 1; s.depth > end; {
		if _, err := s.token(); err != nil {
			return cut(err)
		}
	}
	return nil
}

// text reads the current element to its end and returns its text on one line.
func (s *scan) text() (string, error) {
	var b strings.Builder
	for end := s.depth - 1; s.depth > end; {
		t, err := s.token()
		if err != nil {
			return "", cut(err)
		}
		if c, ok := t.(xml.CharData); ok && b.Len() < maxText {
			b.Write(c[:min(len(c), maxText)])
		}
	}
	line := strings.Join(strings.Fields(b.String()), " ")
	return strings.ToValidUTF8(line[:min(len(line), maxText)], ""), nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value[:min(len(a.Value), maxText)]
		}
	}
	return ""
}
