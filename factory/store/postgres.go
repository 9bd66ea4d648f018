package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/imagefactory/imagefactory/factory"
)

// migrationLock is the advisory lock that one migrating process holds: "FIMT", as in a SQLite file's header.
const migrationLock = applicationID

func (s *Store) openPostgres(ctx context.Context, url string, wait time.Duration) (err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "factory"
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(8)
	pool.SetMaxIdleConns(2)
	pool.SetConnMaxIdleTime(time.Minute)
	s.db = bun.NewDB(pool, pgdialect.New())

	lock, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := exclusive(ctx, lock, wait); err != nil {
		return err
	}
	defer func() {
		_, unlock := lock.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock)
		err = errors.Join(err, unlock)
	}()
	return migrate(ctx, pool, postgresMigrations)
}

func exclusive(ctx context.Context, lock *sql.Conn, wait time.Duration) error {
	patient, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := lock.ExecContext(patient, "SELECT pg_advisory_lock($1)", migrationLock)
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return &factory.Problem{Kind: factory.ErrUnavailable, What: "another process is migrating the database and does not get done", Cause: err,
			Hint: "see who it is: SELECT * FROM pg_stat_activity WHERE application_name = 'factory'"}
	}
	return err
}
