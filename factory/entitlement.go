package factory

// Entitlement is the TLS client certificate that an archive asks its subscribers for, as files of this machine. They are read
// when they are used, and mounted as secrets; nothing of them is kept. The zero value is none.
type Entitlement struct {
	Cert string `json:"cert"`         // PEM
	Key  string `json:"key"`          // PEM
	CA   string `json:"ca,omitempty"` // PEM of the authorities that the archive's own certificate is checked against; empty = the usual ones
}
