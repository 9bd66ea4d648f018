package main

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/sbom/core"
	"github.com/package-url/packageurl-go"
)

// Limits of an SBOM that is read. The largest images have some ten thousand packages.
const (
	maxSBOM       = 64 << 20 // bytes
	maxComponents = 100_000
	maxEdges      = 2_000_000 // dependencies
)

// bom is what matching needs of a CycloneDX document.
type bom struct {
	name         string
	components   []component
	dependencies map[string][]string
	edges        int
}

type component struct {
	Ref        string     `json:"bom-ref"`
	Type       string     `json:"type"`
	Group      string     `json:"group"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Purl       string     `json:"purl"`
	Properties properties `json:"properties"`
}

// How the names of properties begin: Trivy's, and those for what Trivy would lose.
const (
	trivyProperty = "aquasecurity:trivy:"
	ownProperty   = "imagefactory:"
)

// propertyClass is a package's ftypes.RepositoryClass. Only that of third parties is written down: others do not count.
const propertyClass = "RepositoryClass"

// properties are Trivy's and the factory's own, their names without the prefix.
type properties []core.Property

func (p properties) has(name, value string) bool {
	return slices.Contains(p, core.Property{Name: name, Value: value})
}

// UnmarshalJSONFrom reads an array of properties.
func (p *properties) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	return elements(d, func() error {
		var one struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		}
		err := json.UnmarshalDecode(d, &one)
		for _, prefix := range []string{trivyProperty, ownProperty} {
			if name, ok := strings.CutPrefix(one.Name, prefix); ok {
				*p = append(*p, core.Property{Name: name, Value: one.Value})
			}
		}
		return err
	})
}

func (c component) purl() (*packageurl.PackageURL, error) {
	if c.Purl == "" {
		return nil, nil
	}
	p, err := packageurl.FromString(c.Purl)
	if err != nil {
		return nil, sbomProblem(fmt.Sprintf("%.80q has the package URL %.80q", c.Name, c.Purl), err)
	}
	return &p, nil
}

// parseBOM reads a CycloneDX document in JSON, piece by piece, so that one that is too large is refused before it fills the memory.
func parseBOM(document []byte) (*bom, error) {
	if len(document) > maxSBOM {
		return nil, sbomProblem(fmt.Sprintf("it has %d bytes, more than %d", len(document), maxSBOM), nil)
	}
	b := &bom{dependencies: map[string][]string{}}
	format := ""
	d := jsontext.NewDecoder(bytes.NewReader(document))
	err := members(d, func(name string) error {
		switch name {
		case "bomFormat":
			return json.UnmarshalDecode(d, &format)
		case "metadata":
			var m struct {
				Component struct {
					Name string `json:"name"`
				} `json:"component"`
			}
			err := json.UnmarshalDecode(d, &m)
			b.name = m.Component.Name
			return err
		case "components":
			return elements(d, func() error { return b.addComponent(d) })
		case "dependencies":
			return elements(d, func() error { return b.addDependency(d) })
		}
		return d.SkipValue()
	})
	if err != nil {
		return nil, sbomProblem("no JSON that it could be", err)
	}
	if format != "CycloneDX" {
		return nil, sbomProblem("no CycloneDX in JSON", nil)
	}
	return b, nil
}

func (b *bom) addComponent(d *jsontext.Decoder) error {
	if len(b.components) == maxComponents {
		return fmt.Errorf("more than %d components", maxComponents)
	}
	b.components = append(b.components, component{})
	return json.UnmarshalDecode(d, &b.components[len(b.components)-1])
}

func (b *bom) addDependency(d *jsontext.Decoder) error {
	var dependency struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn"`
	}
	if err := json.UnmarshalDecode(d, &dependency); err != nil {
		return err
	}
	if b.edges += 1 + len(dependency.On); b.edges > maxEdges {
		return fmt.Errorf("more than %d dependencies", maxEdges)
	}
	b.dependencies[dependency.Ref] = append(b.dependencies[dependency.Ref], dependency.On...)
	return nil
}

// members calls f for each member of an object that is all of the text, with its value to be read.
func members(d *jsontext.Decoder, f func(name string) error) error {
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return orErr(err, "no object")
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := f(name.String()); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return orErr(err, "more after its end")
	}
	return nil
}

// elements calls f for each element of an array, to be read.
func elements(d *jsontext.Decoder, f func() error) error {
	if t, err := d.ReadToken(); err != nil || t.Kind() != '[' {
		return orErr(err, "no array")
	}
	for d.PeekKind() != ']' {
		if err := f(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func orErr(err error, otherwise string) error {
	if err == nil {
		return fmt.Errorf("%s", otherwise)
	}
	return err
}
