// Package rebase decides whether the base below an image may be exchanged without building the image again, and what of the image
// must be merged when it is.
//
// Rules of this package: it is pure; it is told what layers hold and says what follows. Every rule is held against every platform,
// and everything that is wrong is said at once. What it does not know it does not let pass: a program that cannot be read, a
// database that it cannot merge. Of what a program loads by name when it runs (dlopen) it knows
// nothing, so every public library of the old base must be in the new one; of interpreted programs only which minor version of Python
// or Perl their modules were installed for.
package rebase
