// Package standin makes small signed RPM archives that look like those of the RPM families, for tests and for trying by hand.
//
// The real archives cannot be reached from a closed machine, so these stand in for them: their own OpenPGP key, real RPMs with
// names, versions and dependencies like the real ones, a shell and tools that are one static busybox, metadata by createrepo_c,
// updateinfo, modules, mirror lists. They exercise dnf, rpm, GPG, Ansible, OpenSCAP and Trivy for real; what they say about the
// contents of a real release is nothing.
//
//	a, err := standin.Make(t.TempDir(), standin.RHEL9, standin.Options{})
//	url := a.Serve(t)                 // the root URL of archive a.ID()
//	img := a.Image()                  // a definition that resolves against it
//	err = a.SecurityUpdate()          // and the next lock differs
//
// Rules: private keys never leave memory; the same options and key give the same bytes; a change is atomic for whoever asks the Handler; programs are run with arguments, never through a shell.
package standin
