// Package scanner talks to factory-scanner, a process of its own that knows vulnerabilities and holds no secret, and keeps
// the databases that it reads.
//
// Its rules:
//
//   - The scanner gets nothing that it does not need: no environment but a folder for temporary files, which goes when it does, no
//     network where the kernel allows to take it away, and it never outlives the factory.
//   - One process serves all requests at once. When it dies, those that were under way are tried once more, each one alone, so that
//     only the request that is to blame fails.
//   - Every wait is bounded, and an error says what was waited for and what the scanner said last.
//   - A database is checked whole, in a process that may die of it, before it is used. One that kills or confuses the scanner is
//     ErrUnverified and named, never a scan without findings.
//   - A scan that recognises nothing is an error: who looks at nothing finds nothing.
//   - Installed databases never change. A new one is put beside the old one, and one rename of a small file makes it current; a
//     crash leaves the old one or the new one.
package scanner
