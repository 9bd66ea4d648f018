package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aquasecurity/trivy-java-db/pkg/db"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/javadb"
	_ "modernc.org/sqlite" // Trivy leaves the choice of the driver, for this index and for rpm databases, to its program
)

// java is the index of Java archives by their checksum. Trivy would download one; here it is empty, so that archives are known by
// what they say of themselves.
type java struct {
	once sync.Once
	err  error
}

// prepare makes the index, once.
func (j *java) prepare() error {
	j.once.Do(func() { j.err = makeIndex() })
	return j.err
}

func makeIndex() error {
	dir, err := os.MkdirTemp("", "java-")
	if err != nil {
		return err
	}
	index := filepath.Join(dir, "java-db")
	d, err := db.New(index)
	if err != nil {
		return err
	}
	meta := db.NewMetadata(index)
	err = errors.Join(d.Init(), d.Close(), meta.Update(db.Metadata{Version: db.SchemaVersion, NextUpdate: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}))
	javadb.Init(dir, nil, true, true, ftypes.RegistryOptions{})
	return err
}
