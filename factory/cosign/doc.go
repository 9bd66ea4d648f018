// Package cosign signs what the factory built and verifies what anybody holds.
//
// It speaks cosign's own format, so that the public cosign command accepts everything made here, on registries with and
// without the referrers API, at the tags sha256-<hex>.sig and .att: a signature for the index and for every platform
// manifest; and for the index SLSA provenance, a CycloneDX and an SPDX SBOM of each platform, a vulnerability report, a
// compliance summary, OpenVEX, and what the gate of each environment decided as a SLSA verification summary.
//
// Its rules:
//
//   - A private key is made once and never overwritten. It leaves neither its file nor its KMS.
//   - Signing makes bytes; attaching publishes them. Nothing here tags an image.
//   - What the gate did not approve is not signed, and neither is what lacks a part of its evidence.
//   - Attaching replaces what this key said before for the same purpose: the same kind of statement, about the same tag
//     or platform. What it says for others, and other people's statements, are kept, and revocations are for ever.
//   - A tag is good when the gate let the image in under exactly it, and a provenance names it or, when it was promoted,
//     the same day and commit. A digest alone is judged by its newest provenance and any decision that let it in.
//   - A revocation counts as soon as it is signed by whom is trusted. Who can write to the registry can take one away;
//     whoever keeps a ledger gives it to Verify.
//   - Verifying trusts the public key (or the identity), the content's own hash, and nothing that a registry says.
package cosign
