// Package oci turns the tar stream of a root filesystem into an OCI image on disk whose bytes depend on the content
// alone.
//
// Rules:
//   - Same lock, same definition, same roles: same digest. Nothing of the run, the commit, the machine or the clock
//     gets in. What an installation leaves that differs from one build to the next is a named rule in rules.go.
//   - Layers are cut by what a pull costs later (layers.go): large source packages have one each, the small ones share
//     "release" (as the release shipped them) and "updates" (updated since, and likely to be again); all the rest is
//     "configuration". A nightly with one update leaves every other package layer as it was, byte for byte, so
//     consumers have it already.
//   - Package layers hold files exactly as their packages ship them, and know nothing of the lock's timestamp. A
//     package's file that the build changed belongs to the configuration, whose every time is the timestamp.
//   - What a package manager records of an installation is read by one adapter for each format (formats.go): dpkg's files, or
//     rpm's database in any of its three forms. What was installed must be what the lock says.
//   - A stream that is cut short, contradicts itself or leaves the root is an error, and nothing of it stays on disk.
//
// Compressed bytes are a function of the content and of the compressor's version in go.mod: a factory built with another
// one makes the same layers (DiffIDs) under other digests, and Diff says so.
package oci
