package factory

// Rebase is the exchange of the base below an image: its lowest layers were an old release's, and become a new one's.
type Rebase struct {
	Before Base          `json:"before"` // the image as it was; Release is empty when it is somebody else's
	From   Base          `json:"from"`   // the release that it was built on
	Onto   Base          `json:"onto"`   // the one that it stands on now
	Checks []RebaseCheck `json:"checks"` // what was looked at, in its order
	// Carried says, a sentence each, which evidence is that of other images and was not made anew.
	Carried []string `json:"carried,omitempty"`
}

// Hash is what stands in the tag of a rebased release in the place of a commit: the beginning of the digest of what was put
// together. The same image on the same base always has the same.
func (r Rebase) Hash() string {
	return DigestOf([]byte("rebase\n" + string(r.Before.Digest) + "\n" + string(r.Onto.Digest) + "\n")).Hex()[:8]
}

// RebaseCheck is one rule of a rebase, held against one platform.
type RebaseCheck struct {
	Rule     string   `json:"rule"` // layers, packages, libraries, …
	Platform Platform `json:"platform,omitzero"`
	OK       bool     `json:"ok"`
	Text     string   `json:"text"` // what was looked at, or why not
}

// Content is what one layer holds, as far as a rebase asks.
type Content struct {
	Layer Digest      `json:"layer"` // of the compressed blob
	Files []LayerFile `json:"files"` // in the layer's order
}

// FileKind says what a LayerFile is.
type FileKind string

// The kinds of file in a layer.
const (
	PlainFile   FileKind = "file"
	Directory   FileKind = "directory"
	SymLink     FileKind = "symlink"
	SpecialFile FileKind = "special" // pipe or device
	Whiteout    FileKind = "gone"    // takes what lies there away
	Emptied     FileKind = "emptied" // a directory that takes all below it away
)

// LayerFile is one path of a layer. Times are left out: they say when a layer was made.
type LayerFile struct {
	Path   string   `json:"path"` // without a leading slash
	Kind   FileKind `json:"kind"`
	Mode   int64    `json:"mode,omitempty"`
	UID    int      `json:"uid,omitempty"`
	GID    int      `json:"gid,omitempty"`
	Target string   `json:"target,omitempty"` // of a symbolic link
	Attrs  string   `json:"attrs,omitempty"`  // digest of the extended attributes; empty = none
	Sum    Digest   `json:"sum,omitempty"`    // of a plain file's content
	Data   []byte   `json:"data,omitempty"`   // its content, of the files that somebody asked for
	ELF    *ELF     `json:"elf,omitempty"`    // nil = it is no program or library
	// Xattrs are the attributes themselves, of files whose Data is there.
	Xattrs map[string]string `json:"xattrs,omitempty"`
}

// ELF is what a program or library needs of others, and offers them.
type ELF struct {
	Machine     string              `json:"machine"` // EM_X86_64 ELFCLASS64
	Soname      string              `json:"soname,omitempty"`
	Needed      []string            `json:"needed,omitempty"`      // sonames
	Wants       map[string][]string `json:"wants,omitempty"`       // symbol versions, by soname
	Defines     []string            `json:"defines,omitempty"`     // symbol versions
	Interpreter string              `json:"interpreter,omitempty"` // of programs: /lib64/ld-linux-x86-64.so.2
	// Broken says why it could not be read; nothing else is known then.
	Broken string `json:"broken,omitempty"`
}

// Manifest is one manifest of an image in a registry.
type Manifest struct {
	Digest    Digest
	MediaType string
	Body      []byte
	Config    []byte   // the configuration's bytes; empty of an index
	Platform  Platform // zero of an index
}

// Published is an image as a registry has it.
type Published struct {
	Repository string
	Digest     Digest
	Index      *Manifest  // nil = it is a single manifest
	Platforms  []Manifest // of the platforms that the factory knows
	// Others are entries of the index that are no image of such a platform: attestations of a build tool, other machines.
	Others []string
}
