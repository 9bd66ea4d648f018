package factory

import "strings"

// Kind says what a definition is for.
type Kind string

// The kinds of definition.
const (
	KindBase    Kind = "base"    // a product image that others build on
	KindToolbox Kind = "toolbox" // the factory's own tools; never published
)

// Image is a definition: everything a person decides about an image, read from baseimages/<name>/.
type Image struct {
	Name    string `json:"name"`
	Kind    Kind   `json:"kind"`
	Summary string `json:"summary"`
	Owner   Owner  `json:"owner"`
	// From is the image that this one is built on; empty = it is made of packages alone. What a child's own definition does not
	// say, it has from its parent.
	From string `json:"from,omitempty"`
	// Only, in a child, are the packages of its parent that it keeps; nothing else of the parent stays, and no layer is shared.
	// Empty = the child is the whole parent, and its layers lie on the parent's.
	Only []string `json:"only,omitempty"`
	// Files are put into a child after its packages.
	Files []AddedFile `json:"files,omitempty"`
	// Dockerfile, in a child, is a file of its folder that builds it on the parent, without network; empty = none.
	Dockerfile string    `json:"dockerfile,omitempty"`
	Distro     Distro    `json:"distro"`
	EndOfLife  Date      `json:"endOfLife"`
	Archives   []Archive `json:"archives"`
	// Keyring is the file below /usr/share/keyrings in the toolbox whose keys must have signed every archive; Deb only.
	Keyring string `json:"keyring"`
	// Keys are those whose signature every package must have, and every repository's metadata unless its archive says
	// otherwise; RPM only.
	Keys      []Key      `json:"keys,omitempty"`
	Packages  Packages   `json:"packages"`
	Platforms []Platform `json:"platforms"` // sorted, at least one
	Users     []User     `json:"users,omitempty"`
	Hardening Hardening  `json:"hardening"`
	Config    Config     `json:"config"`
	// Said are the keys of Config that a child's own definition says and does not have from its parent's, sorted: cmd, env.PATH,
	// labels.team, user.
	Said    []string `json:"said,omitempty"`
	Tests   Tests    `json:"tests"`
	Waivers []Waiver `json:"waivers,omitempty"`

	// Inputs are the files and folders that make this image what it is, slash-separated, relative to the
	// repository, sorted: its folder, the shared files it uses, the roles of its profile.
	Inputs []string `json:"inputs"`
	Where  Position `json:"where"`
}

// Distro is a release of a distribution.
type Distro struct {
	Family   string `json:"family"`  // debian
	Release  string `json:"release"` // 12
	Codename string `json:"codename,omitempty"`
	// Releasever is what $releasever stands for where that is not the release: "latest", or "2023.9.20251110".
	Releasever string `json:"releasever,omitempty"`
}

// Key is an OpenPGP key that the definition pins.
type Key struct {
	File        string `json:"file"`        // below baseimages/keys: redhat-9.asc
	Fingerprint string `json:"fingerprint"` // of the primary key, upper-case hex
	Armored     string `json:"armored"`     // the file's text
}

const (
	keyBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
	keyEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// OneBlock reports whether the text is one armored public key and nothing else: tools that import a file take every block in it,
// and nobody looks at the fingerprints of the others.
func (k Key) OneBlock() bool {
	text := strings.TrimSpace(strings.ReplaceAll(k.Armored, "\r\n", "\n"))
	return strings.HasPrefix(text, keyBegin) && strings.HasSuffix(text, "\n"+keyEnd) && strings.Count(text, "-----BEGIN") == 1 && strings.Count(text, "-----END") == 1
}

// Archive is one suite of a package archive, or one of its RPM repositories. The host is never part of a definition: the id
// is resolved to a URL by configuration.
type Archive struct {
	ID         string   `json:"id"`         // debian, debian-security, redhat-ubi
	Suite      string   `json:"suite"`      // bookworm-security; of RPM the repository's name: baseos
	Components []string `json:"components"` // Deb only
	// Path is the folder of an RPM repository below the archive's URL. $releasever and $basearch stand for the distribution's
	// version and the platform's machine.
	Path string `json:"path,omitempty"`
	// MirrorList is, instead of Path, a file below the archive's URL whose first line is the URL of the repository. That must
	// be below the archive's URL too. The same variables count.
	MirrorList string `json:"mirrorList,omitempty"`
	// UnsignedMetadata accepts a repository whose repomd.xml nobody signs; its packages must be signed all the same. RPM only.
	UnsignedMetadata bool `json:"unsignedMetadata,omitempty"`
	// Only limits the suite to the packages named; empty means all.
	Only []string `json:"only,omitempty"`
	// AllowExpired accepts a Release file past its Valid-Until. It needs Only.
	AllowExpired bool `json:"allowExpired,omitempty"`
}

// Packages is what a person asks for; the archive's own solver decides the rest.
type Packages struct {
	// Essential includes every package that the archive marks Essential: yes, and Priority: required with apt
	// when true. False asks for Include alone.
	Essential bool     `json:"essential"`
	Include   []string `json:"include,omitempty"`
	Exclude   []string `json:"exclude,omitempty"`
	// Modules are the streams that are enabled in modular RPM repositories: nodejs:20. Packages of other streams do not exist.
	Modules []string `json:"modules,omitempty"`
	// OmitPaths and KeepPaths are dpkg path-exclude and path-include globs (absolute). Files that match OmitPaths and
	// not KeepPaths are never unpacked, here or in a child image. For RPM, OmitPaths are whole folders, /usr/share/man/*, and
	// there are no KeepPaths.
	OmitPaths []string `json:"omitPaths,omitempty"`
	KeepPaths []string `json:"keepPaths,omitempty"`
}

// AddedFile is a file of the definition's folder that a child image gets.
type AddedFile struct {
	Path   string `json:"path"`   // absolute, in the image
	Source string `json:"source"` // below the image's folder: files/motd
	Mode   uint32 `json:"mode"`   // permission bits
	Owner  string `json:"owner"`  // uid:gid
	Data   []byte `json:"-"`      // its content
}

// User is an account that the image ships.
type User struct {
	Name  string `json:"name"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Home  string `json:"home"`
	Shell string `json:"shell"`
}

// Hardening chooses the benchmark profile and what is left out of it.
type Hardening struct {
	Profile string         `json:"profile,omitempty"` // cis_debian; empty = none
	Level   int            `json:"level,omitempty"`   // CIS level, 1 or 2
	Scope   string         `json:"scope,omitempty"`   // container or vm
	Exempt  []Exemption    `json:"exempt,omitempty"`
	Vars    map[string]any `json:"vars,omitempty"` // role variables: strings, numbers, booleans, lists of strings
}

// Exemption switches one control off, with a reason and an end.
type Exemption struct {
	Control string   `json:"control"` // CIS id: 5.3.3.1
	Reason  string   `json:"reason"`
	Until   Date     `json:"until"` // the last day it holds, UTC
	Where   Position `json:"where"`
}

// Owner is the one team that answers for an image.
type Owner struct {
	Team     string   `json:"team"`
	Contacts []string `json:"contacts"` // mail addresses or https URLs, at least one
}

// Waiver accepts one vulnerability or rule, for named packages, with a reason and an end.
type Waiver struct {
	ID       string   `json:"id"` // CVE-2026-1234, or an XCCDF rule
	Packages []string `json:"packages,omitempty"`
	Reason   string   `json:"reason"`
	By       string   `json:"by"`
	Until    Date     `json:"until"` // the last day it holds, UTC
	// Justification says, in one of OpenVEX's five words, why the image is not affected. Empty: it is affected, and the
	// risk is accepted.
	Justification string `json:"justification,omitempty"`
	// Inherited is the ancestor whose waiver it is; empty = the image's own.
	Inherited string   `json:"inherited,omitempty"`
	Where     Position `json:"where"`
}
