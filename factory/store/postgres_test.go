package store_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/imagefactory/imagefactory/factory"
	"github.com/imagefactory/imagefactory/factory/store"
)

func TestPostgresRefusals(t *testing.T) {
	p := postgres(t)
	url := p.Database(t)
	execute(t, "pgx", url, "DROP ROLE IF EXISTS guest, ghost", "CREATE ROLE guest LOGIN", "CREATE ROLE ghost NOLOGIN")
	refusal(t, strings.Replace(url, "user=factory", "user=guest", 1), factory.ErrInvalid, "may not do that", "ALTER DATABASE")
	refusal(t, strings.Replace(url, "user=factory", "user=ghost", 1), factory.ErrInvalid, "does not let this user in")
	refusal(t, strings.Replace(url, "///test", "///nothing", 1), factory.ErrInvalid, "no such database", "createdb")

	open(t, url)
	execute(t, "pgx", url, "INSERT INTO factory_version (version_id, is_applied) VALUES (999, true)")
	refusal(t, url, factory.ErrInvalid, "newer factory", "schema 999")

	foreign := p.Database(t)
	execute(t, "pgx", foreign, "CREATE TABLE releases (name text)", "CREATE SCHEMA mine")
	refusal(t, foreign, factory.ErrInvalid, "another program")
	open(t, foreign+"&search_path=mine") // another schema

	standby := p.Database(t)
	execute(t, "pgx", standby, "ALTER DATABASE "+strings.TrimPrefix(strings.Split(standby, "?")[0], "postgres:///")+" SET default_transaction_read_only = on")
	refusal(t, standby, factory.ErrUnavailable, "read-only")
}

func TestPostgresMigratedByAnother(t *testing.T) {
	url := postgres(t).Database(t)
	other, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Exec("SELECT pg_advisory_lock($1)", 0x46494d54); err != nil {
		t.Fatal(err)
	}
	refusedWithin(t, impatient, url, factory.ErrUnavailable, "another process is migrating", "pg_stat_activity")
}

// A server that drops its clients is met again with the next call.
func TestPostgresDropsConnections(t *testing.T) {
	url := postgres(t).Database(t)
	s := open(t, url)
	for range 3 {
		execute(t, "pgx", url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
		_, err := s.Releases(t.Context(), store.Query{})
		if err != nil && len(factory.Problems(err)) != 1 {
			t.Errorf("dropped: %v", err)
		}
		if _, err := s.Releases(t.Context(), store.Query{}); err != nil {
			t.Errorf("the call after: %v", err)
		}
	}
}
