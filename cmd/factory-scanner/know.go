package main

import (
	"github.com/aquasecurity/trivy-db/pkg/db"
	bolt "go.etcd.io/bbolt"
)

// know reports whether the open database has anything to say of a vulnerability.
func (s *server) know(id string) (*bool, error) {
	return reading(&s.db, func(described) (*bool, error) {
		known := false
		err := db.Config{}.Connection().View(func(tx *bolt.Tx) error {
			if b := tx.Bucket([]byte(vulnerabilities)); b != nil && id != "" {
				known = b.Get([]byte(id)) != nil
			}
			return nil
		})
		return &known, err
	})
}
