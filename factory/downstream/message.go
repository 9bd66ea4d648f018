package downstream

import (
	"encoding/json"
	"strings"

	"github.com/imagefactory/imagefactory/factory"
)

// message is a notice as a repository_dispatch and a webhook carry it. GitHub takes at most ten properties at its top.
type message struct {
	Image   string      `json:"image"`
	Base    string      `json:"base"` // repository@digest
	Tag     factory.Tag `json:"tag"`
	Env     factory.Env `json:"env"`
	Before  string      `json:"before"` // repository@digest, or nothing
	Reason  string      `json:"reason"`
	Urgent  bool        `json:"urgent"`
	Cause   string      `json:"cause"`
	Key     string      `json:"key"`
	Changes changes     `json:"changes"`
}

// changes are what is new since Before. Lists that are too long say how much of them is left out.
type changes struct {
	Packages        []factory.PackageChange `json:"packages"`
	PackagesLeftOut int                     `json:"packagesLeftOut,omitempty"`
	Fixed           []string                `json:"fixed"`
	FixedLeftOut    int                     `json:"fixedLeftOut,omitempty"`
}

// maxMessage is below GitHub's limit for a payload, 64 KiB.
const maxMessage = 48 << 10

func messageOf(n factory.Notice) message {
	t := n.Trigger
	m := message{Image: t.Image, Base: t.Ref, Tag: t.Tag, Env: t.Env, Before: n.Before, Reason: t.Reason, Urgent: t.Urgent, Cause: t.ID, Key: t.Key}
	m.Changes.Packages = append([]factory.PackageChange{}, n.Packages...)
	m.Changes.Fixed = append([]string{}, n.Fixed...)
	for {
		if b, err := json.Marshal(m); err != nil || len(b) <= maxMessage || len(m.Changes.Packages)+len(m.Changes.Fixed) == 0 {
			return m
		}
		c := &m.Changes
		c.Packages, c.Fixed = c.Packages[:len(c.Packages)/2], c.Fixed[:len(c.Fixed)/2]
		c.PackagesLeftOut, c.FixedLeftOut = len(n.Packages)-len(c.Packages), len(n.Fixed)-len(c.Fixed)
	}
}

// variable is what a pipeline, a job or a workflow finds in its environment, parameters or inputs.
type variable struct{ name, value string }

// variables are the same for all who get them, so that one script serves everywhere. A workflow has to declare each as an input.
// None but FACTORY_CAUSE is named like a setting of the factory: what runs factory in such an environment would take it for one.
func variables(n factory.Notice) []variable {
	t := n.Trigger
	line := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	return []variable{
		{"FACTORY_IMAGE", t.Image}, {"FACTORY_BASE", t.Ref}, {"FACTORY_TAG", tagText(t.Tag)}, {"FACTORY_BASE_ENV", string(t.Env)},
		{"FACTORY_REASON", line(t.Reason)}, {"FACTORY_CAUSE", t.ID}, {"FACTORY_MESSAGE_KEY", t.Key},
	}
}

// tagText is a tag as a registry sees it, nothing of no tag.
func tagText(t factory.Tag) string {
	if t == (factory.Tag{}) {
		return ""
	}
	return t.String()
}
