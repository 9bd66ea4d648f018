// Package graph says who builds on whom: a tree for each distribution, each image with its age and its state, as text, DOT, SVG
// or JSON.
//
// Rules of this package:
//
//   - It draws what it is given and never refuses: a definition that is not valid, a parent that nobody defines and a cycle are
//     parts of the picture, and said to be.
//   - Same input, same bytes. Time is given.
//   - What is not in the picture is named in it.
//   - Names come from definitions, registries and other people: they are shown, and never obeyed by whatever reads the output.
package graph
