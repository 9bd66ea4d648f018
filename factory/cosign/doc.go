// Package cosign signs what the factory built and verifies what anybody holds.
//
// It speaks cosign's own format, so that the public cosign command accepts everything made here, on registries with and
// without the referrers API: a signature for the index and for every platform manifest, and SLSA provenance v1 for the
// index, at the tags sha256-<hex>.sig and .att.
//
// Its rules:
//
//   - A private key is made once and never overwritten. It leaves neither its file nor its KMS.
//   - Signing makes bytes; attaching publishes them. Nothing here tags an image.
//   - Signing the same digest again for the same tag replaces this key's statement about it; what it says for other tags,
//     and other people's signatures, are kept.
//   - A tag is good when a provenance names exactly it. A digest alone is judged by its newest provenance.
//   - Verifying trusts the public key (or the identity), the content's own hash, and nothing that a registry says.
package cosign
