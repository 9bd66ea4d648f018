// Package dispatch delivers triggers: it decides who is told when, and what is tried again.
//
// Rules of this package:
//   - At least once. A trigger is claimed before it is told and settled afterwards; whoever dies in between leaves a claim that ends by
//     itself, and the next delivery carries the same key.
//   - Urgent triggers first, then canaries. The others of the same digest and environment are held until every canary was told and,
//     where the teller can find out, has it; or until CanaryWait is over. One that failed holds them until a person decides or it has it
//     after all. What could not be asked is not known: it is no failure, and no success.
//   - A host gets so many calls in a minute, tellings and looks together, and PerServer at once, whichever servers lie on it. A call takes
//     Timeout at most. So a host that accepts and never answers costs one slot for that long, and nobody waits for it.
//   - A host that asks to be left alone is, for so long, up to an hour; so is one that failed five times in a row, for longer each time.
//   - An answer that would stay the same (invalid, not found, not verified, in conflict) makes a dead letter at once, any other failure the last of
//     Attempts. In between it waits, twice as long each time, less up to a half by chance.
//   - No instant from the past is believed when it lies further ahead than this package puts any: a clock that was wrong holds nobody back.
package dispatch
