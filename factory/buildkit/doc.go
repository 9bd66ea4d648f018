// Package buildkit makes root filesystems and runs steps in them with BuildKit.
//
// A [factory.Root] made here is the marshalled LLB definition of a filesystem: data that can be kept and solved again,
// by this daemon or another. Rules: no step has network unless it asks for it; every package is an HTTP source with a
// checksum; nothing that a build needs comes from a public image. When no daemon is named, the package starts its own
// pinned buildkitd and stops it again.
package buildkit
