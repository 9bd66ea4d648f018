// Package storetest is the one suite that every database of package store passes, and the PostgreSQL server to run it on.
// Tests import it; nothing else does.
package storetest

import (
	"testing"

	"github.com/imagefactory/imagefactory/factory/store"
)

// Exercise runs the whole suite. Each call of open returns a store on an empty database of its own and closes it at the end of
// the test it was given.
func Exercise(t *testing.T, open func(t *testing.T) *store.Store) {
	for name, test := range map[string]func(*testing.T, *store.Store){
		"runs":                 runs,
		"run references":       runReferences,
		"foreign text":         foreignText,
		"lease":                lease,
		"lease expires":        leaseExpires,
		"lease of a dead":      leaseOfTheDead,
		"lease lost":           leaseLost,
		"lease kept":           leaseKept,
		"lease race":           leaseRace,
		"lease wanted":         leaseWanted,
		"release":              release,
		"release is immutable": releaseIsImmutable,
		"release needs":        releaseNeeds,
		"release race":         releaseRace,
		"release list":         releaseList,
		"release references":   releaseReferences,
		"release hints":        releaseHints,
		"children":             children,
		"tries":                tries,
		"newest":               newest,
		"heads":                heads,
		"inputs":               inputs,
		"documents":            documents,
		"documents race":       documentsRace,
		"holding":              holding,
		"findings remembered":  findingsRemembered,
		"findings closed":      findingsClosed,
		"findings by weaker":   findingsByWeaker,
		"findings not seen":    findingsNotLookedAt,
		"findings of older":    findingsOfOlder,
		"findings and clocks":  findingsAndClocks,
		"findings asked for":   findingsAskedFor,
		"scans":                scans,
		"scans race":           scansRace,
		"ledger":               ledger,
		"ledger refuses":       ledgerRefuses,
		"ledger standing":      ledgerStanding,
		"ledger references":    ledgerReferences,
		"ledger race":          ledgerRace,
		"observed":             observed,
		"observed many":        observedMany,
		"bases":                bases,
		"triggers":             triggers,
		"triggers and causes":  triggersAndCauses,
		"triggers revoked":     triggersRevoked,
		"triggers claimed":     triggersClaimed,
		"triggers race":        triggersRace,
		"triggers retried":     triggersRetried,
		"triggers decided":     triggersDecided,
		"triggers carried on":  triggersCarriedOn,
		"triggers come back":   triggersOfWhatComesBack,
		"triggers go back":     triggersOfWhatIsRevoked,
		"triggers asked for":   triggersAskedFor,
		"many writers":         manyWriters,
		"cancelled":            cancelled,
		"closed":               closed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}
