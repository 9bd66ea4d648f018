package openscap

import (
	"bytes"
	"compress/gzip"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/imagefactory/imagefactory/factory"
)

// Contents keeps what was read of the toolbox's content, so that it is read once for all images. The zero value is ready to use, by
// several goroutines.
type Contents struct {
	mu   sync.Mutex
	have map[string]prepared // by file
}

// prepared is what the evaluations of one data stream are given.
type prepared struct {
	digest  factory.Digest    // of the data stream as its package ships it
	leftOut int               // elements of it that the whole copy does not have
	copies  map[string][]byte // by name, gzip
	// profile1 is CIS level 1. Same are its rules that an evaluation of level 2 answers for, own those that it does not; with
	// neither, level 1 is evaluated whole.
	profile1 string
	same     map[string]bool
	own      []string // XCCDF ids
}

// copyFile is a copy's file beside the script.
func copyFile(name string) string { return ownDir + "/" + name + ".xml.gz" }

// prepare reads a data stream in the toolbox and makes the copies, or takes them from what was read before.
func (p Prover) prepare(ctx context.Context, c content) (prepared, error) {
	if p.Contents == nil {
		return p.read(ctx, c)
	}
	p.Contents.mu.Lock()
	defer p.Contents.mu.Unlock()
	if have, ok := p.Contents.have[c.file]; ok {
		return have, nil
	}
	made, err := p.read(ctx, c)
	if err != nil {
		return prepared{}, err
	}
	if p.Contents.have == nil {
		p.Contents.have = map[string]prepared{}
	}
	p.Contents.have[c.file] = made
	return made, nil
}

func (p Prover) read(ctx context.Context, c content) (prepared, error) {
	data, err := p.shipped(ctx, c)
	if err != nil {
		return prepared{}, err
	}
	made, err := c.prepare(data)
	if err != nil {
		return prepared{}, &factory.Problem{Kind: factory.ErrUnverified, What: "the toolbox's " + c.file, Cause: err,
			Hint: "make the toolbox anew: factory lock toolbox"}
	}
	return made, nil
}

// prepare makes the copies of a data stream.
func (c content) prepare(data []byte) (prepared, error) {
	st, err := readStream(data)
	if err != nil {
		return prepared{}, err
	}
	short := c.rules()
	for _, x := range c.system.canaries {
		short = append(short, x.rules()...)
	}
	out := prepared{digest: factory.DigestOf(data), copies: map[string][]byte{}, profile1: c.profiles[0]}
	whole, n := st.thin(c.profiles[:], qualified(short), true)
	out.leftOut = n
	same, own, known := st.shared(c.profiles[0], c.profiles[1])
	if known {
		out.own, out.same = own, map[string]bool{}
		for id := range same {
			out.same[strings.TrimPrefix(id, prefix)] = true
		}
	}
	less, _ := st.thin(c.profiles[:], append(qualified(short), own...), false)
	for name, b := range map[string][]byte{wholeCopy: whole, shortCopy: less} {
		if out.copies[name], err = packed(b); err != nil {
			return prepared{}, err
		}
	}
	return out, nil
}

func packed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// files are the copies that a request names.
func (r request) files() map[string]factory.File {
	out := map[string]factory.File{}
	for _, name := range r.Contents {
		out[copyFile(name)] = factory.File{Data: r.from.copies[name]}
	}
	return out
}

// answered adds to level 1 the results that level 2 has for it.
func (p prepared) answered(level1 *factory.Evaluation, level2 []factory.RuleOutcome) {
	for _, o := range level2 {
		if p.same[o.Rule] {
			level1.Rules = append(level1.Rules, o)
		}
	}
	slices.SortFunc(level1.Rules, byRule)
}

// shipped is a data stream as the toolbox has it.
func (p Prover) shipped(ctx context.Context, c content) ([]byte, error) {
	const copied = "content.xml"
	res, err := p.Runner.Run(ctx, factory.Step{
		Name: "read " + c.file, Step: factory.StepProve, InToolbox: true, Output: outputDir,
		Root: factory.Root{Platform: factory.Platform{OS: "linux", Architecture: "amd64"}},
		Args: []string{"/bin/cp", contentDir + c.file, outputDir + "/" + copied},
	})
	if err != nil {
		return nil, err
	}
	if res.Exit != 0 {
		return nil, &factory.Problem{Kind: factory.ErrNotFound, What: "the toolbox does not have " + c.file,
			Hint: "baseimages/toolbox/image.yaml says which data streams it keeps"}
	}
	return res.Output[copied], nil
}
