package graph

import (
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Input is everything that a graph is made of.
type Input struct {
	At time.Time
	// MaxAge is the age at which a release is made anew; one that is a day older still is overdue. 0 = none ever is.
	MaxAge time.Duration
	Images []factory.Image
	Broken []string // definitions that are not valid
	// Behind names, for those of the Broken that have no problem of their own, the parent that is broken.
	Behind map[string]string
	Facts  map[string]Facts // by image; those of images that nobody defines any more are drawn too
	// Outside draws the dependents and what was observed. Without it they are counted only.
	Outside    bool
	Dependents []factory.Dependent
	Observed   []factory.Observed
	Tags       map[string]factory.Tag // of releases that something outside may stand on, by id
	LeftOut    []string               // what whoever made this input did not look at
}

// Facts is what is known of an image beyond its definition.
type Facts struct {
	Newest  *Release   // nil = never released
	InForce []Standing // dev, staging, prod
	Last    *Look      // nil = no run is known that looked at it
}

// Release is a release without its bulk.
type Release struct {
	ID      string         `json:"id"`
	Tag     factory.Tag    `json:"tag"`
	Digest  factory.Digest `json:"digest"`
	Ref     string         `json:"ref"` // repository:tag
	Created time.Time      `json:"created"`
	// Parent is the release that it is built on.
	Parent *factory.Base `json:"parent,omitempty"`
}

// Standing is what is in force in one environment.
type Standing struct {
	Env        factory.Env    `json:"env"`
	Release    string         `json:"release"` // its id
	Digest     factory.Digest `json:"digest"`
	Tag        factory.Tag    `json:"tag"`
	Created    time.Time      `json:"created"`
	Since      time.Time      `json:"since"`                // in this environment
	Breach     string         `json:"breach,omitempty"`     // why the gate would not let it in today
	DriftHours float64        `json:"driftHours,omitempty"` // age of the oldest fix that it lacks
}

// Look is what the last run that looked at an image did with it.
type Look struct {
	Run    string         `json:"run"`
	At     time.Time      `json:"at"` // when the run began
	Action factory.Action `json:"action"`
	Reason string         `json:"reason,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// Kind says what a node is.
type Kind string

// The kinds of node.
const (
	Image     Kind = "image"
	Dependent Kind = "dependent" // outside, told of releases
	Observed  Kind = "observed"  // a repository outside, whose newest image was found to be built on ours
)

// Graph is who builds on whom.
type Graph struct {
	At      time.Time     `json:"at"`
	About   string        `json:"about,omitempty"` // the one image that it is limited to, with what is above and below it
	Images  int           `json:"images"`
	Deepest int           `json:"deepest"` // of images; 0 = nobody builds on anybody
	Counts  map[State]int `json:"counts"`  // of images
	Groups  []Group       `json:"groups"`  // sorted by distribution
	Nodes   []Node        `json:"nodes"`   // each before those that build on it
	Cycles  [][]string    `json:"cycles"`  // each image is built on the next, and the last on the first
	LeftOut []string      `json:"leftOut"`

	at map[string]int // places in Nodes, by id
}

// Group is a distribution with all that is built on its packages. It is the root of its trees.
type Group struct {
	Name     string   `json:"name"`     // debian 12
	Archives []string `json:"archives"` // ids, sorted
	Images   int      `json:"images"`
	Roots    []string `json:"roots"` // ids of nodes

	distro factory.Distro
}

// Node is an image, or somebody outside who builds on one.
type Node struct {
	ID          string     `json:"id"` // an image's is its name
	Kind        Kind       `json:"kind"`
	Name        string     `json:"name"`
	Note        string     `json:"note,omitempty"` // what else there is to say of it
	Owner       string     `json:"owner,omitempty"`
	Group       string     `json:"group"`
	Parent      string     `json:"parent,omitempty"`
	Depth       int        `json:"depth"`
	Children    []string   `json:"children,omitempty"`
	Descendants int        `json:"descendants"` // images that are built on it, directly or not
	Outside     int        `json:"outside"`     // dependents, and repositories of nobody, that build on it directly
	Release     *Release   `json:"release,omitempty"`
	AgeHours    float64    `json:"ageHours,omitempty"`
	InForce     []Standing `json:"inForce,omitempty"`
	LastRun     *Look      `json:"lastRun,omitempty"`
	State       State      `json:"state"` // the worst of its marks
	Marks       []Mark     `json:"marks,omitempty"`

	from    string // name of the image that it is built on, as far as that is known
	distro  factory.Distro
	sources []string // archive ids
	ends    factory.Date
	created time.Time // of an observed image
}

// Node returns the node with the id.
func (g Graph) Node(id string) (Node, bool) {
	i, ok := g.at[id]
	if !ok {
		return Node{}, false
	}
	return g.Nodes[i], true
}

// age is how old a thing is, as it is written: 3 h, 12 d.
func (g Graph) age(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return span(g.At.Sub(t))
}
