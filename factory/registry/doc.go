// Package registry publishes images to any OCI registry and brings a registry of its own for machines that have none.
//
// Its rules:
//
//   - An image travels by digest and becomes visible by its tag. Nothing is tagged that was not read back first.
//   - A release's tag never moves: one that names another digest is refused, and left as it is. The embedded registry holds
//     every program to that.
//   - The embedded registry of a folder is served by one process and used by all; when that one ends, another goes on.
//   - What a registry says about content is checked against the content's own hash.
//   - Every wait is bounded, and said. A fault of the registry ends as a factory.Problem that names the host.
//   - Credentials are the user's own for docker, credential helpers included. They never appear in messages.
package registry
