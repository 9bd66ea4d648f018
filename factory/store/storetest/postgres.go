package storetest

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// ErrNoPostgres says that PostgreSQL's server is not installed here.
var ErrNoPostgres = errors.New("postgresql is not installed: apt-get install postgresql")

// Postgres is a PostgreSQL server that belongs to one test binary. It listens on a socket in a folder of its own only.
type Postgres struct {
	dir       string
	server    *exec.Cmd
	admin     *sql.DB
	databases atomic.Int64
}

// StartPostgres makes a new server with nothing in it, as the user postgres when the test runs as root. The server dies with
// the test binary at the latest.
func StartPostgres() (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	p := &Postgres{dir: dir}
	attr, err := p.unprivileged()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "factory", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	p.server = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=60")
	p.server.Dir, p.server.SysProcAttr = dir, attr
	if err := p.server.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if p.admin, err = sql.Open("pgx", p.url("postgres")); err == nil {
		err = p.wait()
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Database makes an empty database and returns its URL.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", p.databases.Add(1))
	if _, err := p.admin.Exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	return p.url(name)
}

// Stop ends the server and removes its files.
func (p *Postgres) Stop() error {
	if p.admin != nil {
		p.admin.Close()
	}
	err := p.server.Process.Signal(syscall.SIGINT) // fast shutdown
	p.server.Wait()
	return errors.Join(err, os.RemoveAll(p.dir))
}

func (p *Postgres) url(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {p.dir}, "user": {"factory"}}.Encode()
}

func (p *Postgres) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// unprivileged gives the folder to whoever the server will run as, because it refuses to be root.
func (p *Postgres) unprivileged() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uerr := strconv.ParseUint(who.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(who.Gid, 10, 32)
	if err := cmp.Or(uerr, gerr); err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(p.dir, int(uid), int(gid))
}

// postgresBin finds the server's programs, which Debian keeps out of PATH.
func postgresBin() (string, error) {
	if found, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(found), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", ErrNoPostgres
	}
	return filepath.Dir(slices.Max(found)), nil
}
