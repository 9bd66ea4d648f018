package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/imagefactory/imagefactory/factory"
)

// Header names the state folder that an embedded registry serves.
const Header = "X-Factory-Registry"

// Server is the embedded registry: an OCI registry on a folder. Uploads are moved into place whole, after they were
// flushed and their digest was verified, so a process killed at any instant leaves no tag on missing or cut content.
// Deleting is switched off. Other machines may read when Addr lets them, and only this machine may write.
type Server struct {
	Dir  string       // made when missing
	Addr string       // host:port; port 0 chooses one
	Log  *slog.Logger // hears of requests at debug level; nil = nobody
}

// Running is a registry that serves, in this process or in another.
type Running struct {
	addr  string
	begin func() (*serving, error)

	mu     sync.Mutex
	own    *serving // nil = another process serves
	closed bool
}

// serving is a registry in this process.
type serving struct {
	busy  sync.WaitGroup // requests that are worked on
	addr  string
	http  *http.Server
	shelf shelf
	lock  *os.File
	stop  context.CancelFunc
	done  chan error

	mu     sync.Mutex
	silent map[net.Conn]bool // on which nothing was asked yet
}

// Start serves until Close or until ctx ends. When another process serves the same folder at the same address, that one
// is used. ErrUnavailable when the address is taken by something else, ErrBusy when the folder is served elsewhere.
func (s *Server) Start(ctx context.Context) (*Running, error) {
	run := &Running{addr: s.Addr, begin: func() (*serving, error) { return s.begin(ctx) }}
	var err error
	if run.own, err = run.begin(); err != nil {
		return nil, err
	}
	if run.own != nil {
		run.addr = run.own.addr
	}
	return run, nil
}

// begin serves in this process. It returns nil when another process does already.
func (s *Server) begin(ctx context.Context) (*serving, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "registry folder", Cause: err}
	}
	id, err := identity(s.Dir)
	if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, s.served(ctx, id)
	case err != nil:
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "registry address " + s.Addr, Hint: "choose another address for the embedded registry", Cause: err}
	}
	own := &serving{addr: listener.Addr().String(), done: make(chan error, 1), silent: map[net.Conn]bool{}, shelf: shelf{s.Dir}}
	if own.lock, err = lockDir(s.Dir, own.addr); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	ctx, own.stop = context.WithCancel(ctx)
	handler, err := s.handler(ctx, id)
	if err != nil {
		own.stop()
		return nil, errors.Join(err, listener.Close(), own.lock.Close())
	}
	own.http = &http.Server{Handler: own.counted(handler), ReadHeaderTimeout: 30 * time.Second, ConnState: own.noted, ErrorLog: slog.NewLogLogger(s.log().Handler(), slog.LevelDebug)}
	own.http.RegisterOnShutdown(own.hangUp)
	go func() { own.done <- own.http.Serve(listener) }()
	context.AfterFunc(ctx, func() { _ = own.http.Close() })
	return own, nil
}

// Addr returns the host:port that clients use.
func (r *Running) Addr() string { return r.addr }

// Shared reports whether another process serves.
func (r *Running) Shared() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own == nil && !r.closed
}

// Close lets running requests end for up to ten seconds and stops serving. A registry of another process is left alone.
// A second Close does nothing.
func (r *Running) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.own
	r.own, r.closed = nil, true
	if own == nil {
		return nil
	}
	return own.close()
}

func (own *serving) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := own.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = own.http.Close()
	}
	own.stop()
	if served := <-own.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	// A connection that was cut leaves its request to find out by itself: the folder is ours until it has.
	idle := make(chan struct{})
	go func() { own.busy.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	return errors.Join(err, own.lock.Close())
}

// noted keeps silent up to date.
func (own *serving) noted(conn net.Conn, state http.ConnState) {
	own.mu.Lock()
	defer own.mu.Unlock()
	if delete(own.silent, conn); state == http.StateNew {
		own.silent[conn] = true
	}
}

// hangUp closes the connections on which nothing was asked yet. Clients that ask for many things at once open more of them than they
// need, and a server that ends waits five seconds for each to say something.
func (own *serving) hangUp() {
	own.mu.Lock()
	defer own.mu.Unlock()
	for conn := range own.silent {
		_ = conn.Close()
	}
}

// counted lets close wait for the requests that h works on.
func (own *serving) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own.busy.Add(1)
		defer own.busy.Done()
		h.ServeHTTP(w, r)
	})
}

// served returns nil if what listens on the address is a factory serving the same folder.
func (s *Server) served(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	taken := &factory.Problem{Kind: factory.ErrUnavailable, What: "registry address " + s.Addr + " is taken by another program",
		Hint: "stop that program, or choose another address: --registry-addr HOST:PORT or FACTORY_REGISTRY_ADDR"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		taken.Cause = err
		return taken
	}
	defer resp.Body.Close()
	switch other := resp.Header.Get(Header); other {
	case id:
		return nil
	case "":
		return taken
	default:
		taken.What = "registry address " + s.Addr + " is taken by a factory with another state folder"
		return taken
	}
}

// identity names a folder for as long as it lives, however it is reached.
func identity(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("registry folder %s: no inode", dir)
	}
	return factory.DigestOf(fmt.Appendf(nil, "%d:%d", st.Dev, st.Ino)).Short(), nil
}

// lockDir makes sure that one process serves the folder, and writes down where. The lock ends with the process.
func lockDir(dir, addr string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "serving"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "registry folder", Cause: err}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		where := make([]byte, 100)
		n, _ := f.ReadAt(where, 0)
		f.Close()
		return nil, &factory.Problem{Kind: factory.ErrBusy, What: fmt.Sprintf("registry folder %s is served at %s by another process", dir, where[:n]),
			Hint: "use that address, or stop that process", Cause: err}
	}
	if err := errors.Join(f.Truncate(0), func() error { _, err := f.WriteAt([]byte(addr), 0); return err }()); err != nil {
		f.Close()
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "registry folder", Cause: err}
	}
	return f, nil
}
