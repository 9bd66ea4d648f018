// Package upstream finds out what the distributions offer now, as a [factory.Lock], and makes the toolbox that asks.
//
// Rules of this package: apt's and dnf's own solvers decide, never code of ours; whatever they did not verify is not believed;
// an answer is whole or it is an error; and no archive is named by host in anything that is kept.
package upstream
