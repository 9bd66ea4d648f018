// Package definition reads what people decide about images (baseimages/, the benchmark profiles in ansible/ and
// CODEOWNERS) strictly into factory.Image, and describes those files as a JSON schema.
//
// Rules of this package:
//
//   - Nothing is guessed. An unknown key, a wrong type or a name that nobody defined is a factory.Problem with
//     file:line:column, what was expected and the nearest valid name. Every problem is told at once.
//   - A file is refused before it is parsed when it is larger than MaxFile, nests too deep or uses anchors, aliases,
//     tags or merge keys: what images share is written once in baseimages/shared and pulled with "use".
//   - No input is read through a symbolic link, and none lies outside the repository.
//   - It reads files and nothing else: no network, no clock, no environment.
package definition
