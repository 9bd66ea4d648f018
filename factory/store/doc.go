// Package store keeps what the factory must not forget: releases with the inputs that made them and the documents that prove
// them, findings with their history, the ledger of what is where, runs with what they did to each image, and the leases that keep
// two runs apart. It lives in one SQLite file by default, or in PostgreSQL.
//
// Rules of this package:
//   - A release never changes and is never deleted. Recording it twice is harmless.
//   - The ledger is only added to. A tag in it never moves, and a revocation is for good.
//   - A finding stays the same one across rebuilds. Only the scan of an image's newest release opens and closes it; see SaveScan.
//   - What a method has acknowledged is on the disk; kill -9 a moment later loses nothing of it.
//   - Several processes may use one database at once. SQLite needs a local filesystem for that, not a network share.
//   - A database file that cannot be understood is reported and left exactly as it is.
//   - No error of a driver leaves without a kind of package factory and, where a person can help, a hint.
//   - Instants are UTC and keep microseconds, whatever the database.
package store
