package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/imagefactory/imagefactory/factory"
)

// versionTable is goose's record of what was migrated, under a name that no other program's goose uses.
const versionTable = "factory_version"

//go:embed migrations
var migrations embed.FS

// schema is what migrates one kind of database.
type schema struct {
	dialect goose.Dialect
	folder  string
	exists  string // query: is there a version table?
}

var (
	sqliteMigrations = schema{goose.DialectSQLite3, "migrations/sqlite",
		"SELECT count(*) > 0 FROM sqlite_schema WHERE name = '" + versionTable + "'"}
	postgresMigrations = schema{goose.DialectPostgres, "migrations/postgres",
		"SELECT to_regclass('" + versionTable + "') IS NOT NULL"}
)

// migrate brings db to the newest version that this program knows. The caller holds a lock against other processes.
func migrate(ctx context.Context, db *sql.DB, to schema) error {
	files, err := fs.Sub(migrations, to.folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(to.dialect, db, files, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	switch have, err := version(ctx, db, to); {
	case err != nil:
		return err
	case have > newest:
		return &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("database is from a newer factory (schema %d, this one knows %d)", have, newest),
			Hint: "use the newer factory, or give this one a database of its own; the database was left as it is"}
	case have == newest:
		return nil
	}
	_, err = p.Up(ctx)
	return err
}

// version asks without writing, which goose itself does not offer.
func version(ctx context.Context, db *sql.DB, of schema) (v int64, err error) {
	var exists bool
	if err := db.QueryRowContext(ctx, of.exists).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versionTable).Scan(&v)
	return v, err
}
