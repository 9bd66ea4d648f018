// Package adoption decides, purely, which release of ours an image is built on, and says who runs on which release.
//
// Its rules:
//
//   - An image is built on the release whose layers it has all of, from the bottom; of several, on the one with most layers: a child's
//     image lies on its parent's. What an image says of its base counts where layers do not say more: labels are inherited.
//   - Some of a release's layers are reported as such, without a release: nobody builds on half an image.
//   - Nothing counts as adopted that is not known to be: what was not looked at, and what nobody knows, is in every sum.
package adoption
