// Package buildkit makes root filesystems and runs steps in them with BuildKit.
//
// A [factory.Root] made here is the marshalled LLB definition of a filesystem: data that can be kept and solved again,
// by this daemon or another. Rules: no step has network unless it asks for it; every package is a source with a checksum;
// nothing that a build needs comes from a public image; what differs between package formats is one maker each (build.go);
// a secret is a file that is read when a step asks for it, and is in no definition. When no daemon is named, the package
// starts its own pinned buildkitd and stops it again.
package buildkit
