// Package forge makes servers that dependents are told through, for tests and benches: GitHub (also as an Enterprise Server), GitLab,
// Jenkins, and a receiver of signed webhooks.
//
// They are no replay of answers: branches, commits, trees and pull requests really change, tokens are checked, and what the documented
// APIs refuse is refused with their status and a message of their form.
//
//	hub := &forge.GitHub{Token: "t0ken"}
//	repo := hub.Add("payments/api", map[string]string{"Dockerfile": "FROM …"})
//	url := forge.Serve(t, hub)
//	hub.Next(forge.Status(429, "", "Retry-After", "7")) // the next request fails
//	repo.Pulls()                                        // what came of the others
//
// Rules: loopback only; a server is an http.Handler, so that tests choose TLS and prefix; everything may be asked concurrently.
package forge
