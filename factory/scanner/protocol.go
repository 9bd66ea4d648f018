package scanner

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/imagefactory/imagefactory/factory"
)

// The protocol between the factory and a scanner process. The factory starts the program with the argument "serve" and nothing in
// its environment but TMPDIR, a folder that is the process's own and is removed after its end, and talks to it on stdin and stdout;
// stderr is for people. A message is a frame: four bytes, big-endian, that say how long it is, and so many bytes of JSON. Requests
// may be sent before earlier ones are answered; replies come in any order and carry the id of their request. The process ends when
// stdin does.

// ProtocolVersion is the version of the protocol. A scanner of version 1 could not say what it did not look at.
const ProtocolVersion = 2

// MaxFrame is the longest message, in bytes. A longer one ends the conversation.
const MaxFrame = 256 << 20

// Op is what a request asks for.
type Op string

// The operations.
const (
	Hello Op = "hello" // who are you? answers Hello
	Open  Op = "open"  // use the database in Dir from now on; answers Database
	Check Op = "check" // read all of the database in Dir and use none of it; answers Database
	Image Op = "image" // scan one platform of an image in an OCI layout; answers Result
	Know  Op = "know"  // has the open database this Vulnerability, of whatever package? answers Known
	SBOM  Op = "sbom"  // match a CycloneDX SBOM against the open database; answers Result without SBOMs
	Build Op = "build" // write a database made from Advisories into Dir, an empty folder; answers Database
)

// Request is a message to the scanner.
type Request struct {
	ID         uint64               `json:"id"` // from 1; unique in a conversation
	Op         Op                   `json:"op"`
	Dir        string               `json:"dir,omitempty"`    // Open, Check, Build
	Layout     string               `json:"layout,omitempty"` // Image: folder with an OCI image layout
	Digest     factory.Digest       `json:"digest,omitempty"` // Image: the manifest
	Name       string               `json:"name,omitempty"`   // Image: what the SBOM calls it, debian-12
	Platform   *factory.Platform    `json:"platform,omitempty"`
	SBOM       []byte               `json:"sbom,omitempty"`       // SBOM
	Advisories []factory.Advisories `json:"advisories,omitempty"` // Build

	Vulnerability string `json:"vulnerability,omitempty"` // Know: an id
}

// Reply is a message from the scanner.
type Reply struct {
	ID       uint64            `json:"id"`
	Error    *Fault            `json:"error,omitempty"` // nil = done
	Hello    *Greeting         `json:"hello,omitempty"`
	Database *factory.Database `json:"database,omitempty"` // Kind, Schema, Updated, Advisories
	Result   *Result           `json:"result,omitempty"`
	Known    *bool             `json:"known,omitempty"`
}

// Greeting says who the scanner is.
type Greeting struct {
	Name     string `json:"name"`    // trivy
	Version  string `json:"version"` // 0.74.0
	Protocol int    `json:"protocol"`
	Schema   int    `json:"schema"` // of the databases that it reads
	// Databases are the OCI references that the scanner's makers publish databases under, in the order to try.
	Databases []string `json:"databases"`
}

// Result is what was found.
type Result struct {
	Distro   string `json:"distro"`   // debian 12; empty = none recognised
	Packages int    `json:"packages"` // that were looked at
	// NotLookedAt are the packages that the open database knows nothing about, sorted, once each. A scanner that does not name a package
	// here says by that that it would have found what is known of it.
	NotLookedAt []string          `json:"notLookedAt,omitempty"`
	Findings    []factory.Finding `json:"findings"`
	CycloneDX   []byte            `json:"cyclonedx,omitempty"` // same image, same bytes
	SPDX        []byte            `json:"spdx,omitempty"`      // likewise
}

// Fault is an error on its way between processes.
type Fault struct {
	Kind string `json:"kind"` // invalid, not found, unverified, unavailable; anything else is unexpected
	What string `json:"what"`
	Hint string `json:"hint,omitempty"`
}

// WriteFrame writes one message.
func WriteFrame(w io.Writer, message any) error {
	frame, err := encodeFrame(message, MaxFrame)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// encodeFrame returns a message of at most so many bytes as it is written.
func encodeFrame(message any, most int) ([]byte, error) {
	b, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	if len(b) > most {
		return nil, fmt.Errorf("message of %d bytes, at most %d", len(b), most)
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...), nil
}

// ReadFrame reads one message into v. It returns io.EOF when the other side has ended between two messages, and
// io.ErrUnexpectedEOF when it has within one.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("message of %d bytes, at most %d", n, MaxFrame)
	}
	// A length is only a claim: memory follows what arrives.
	b := bytes.NewBuffer(make([]byte, 0, min(int(n)+bytes.MinRead, 1<<20)))
	if _, err := io.CopyN(b, r, int64(n)); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	return json.Unmarshal(b.Bytes(), v)
}
