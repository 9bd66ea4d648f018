// Package factory is the image factory's vocabulary: what an image, a lock, a release and a problem are,
// and which of their values can exist at all.
//
// The night reads as a chain of these types, each made from the one before it, so that an illegal order of
// steps does not compile:
//
//	Image → Job → Locked → Built → Hardened → Packed → Examined (Tested, Proven, Scanned) → Approved → Sealed → Release
//
// Rules of this package: it imports only the standard library, it touches neither network nor files nor the
// clock, and whatever it parses is valid from then on.
package factory
