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
	addr   string
	shared bool
	http   *http.Server
	lock   *os.File
	stop   context.CancelFunc
	done   chan error
}

// Start serves until Close or until ctx ends. When another process serves the same folder at the same address, that one
// is used. ErrUnavailable when the address is taken by something else, ErrBusy when the folder is served elsewhere.
func (s *Server) Start(ctx context.Context) (*Running, error) {
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
		return s.share(ctx, id)
	case err != nil:
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "registry address " + s.Addr, Hint: "choose another address for the embedded registry", Cause: err}
	}
	lock, err := lockDir(s.Dir, listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	run := &Running{addr: listener.Addr().String(), lock: lock, done: make(chan error, 1)}
	ctx, run.stop = context.WithCancel(ctx)
	handler, err := s.handler(ctx, id)
	if err != nil {
		run.stop()
		return nil, errors.Join(err, listener.Close(), lock.Close())
	}
	run.http = &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(s.log().Handler(), slog.LevelDebug)}
	go func() { run.done <- run.http.Serve(listener) }()
	context.AfterFunc(ctx, func() { _ = run.http.Close() })
	return run, nil
}

// Addr returns the host:port that clients use.
func (r *Running) Addr() string { return r.addr }

// Shared reports whether another process serves.
func (r *Running) Shared() bool { return r.shared }

// Close lets running requests end for up to ten seconds and stops serving. A registry of another process is left alone.
// A second Close does nothing.
func (r *Running) Close() error {
	if r.shared || r.lock == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := r.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = r.http.Close()
	}
	r.stop()
	if served := <-r.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	err = errors.Join(err, r.lock.Close())
	r.lock = nil
	return err
}

// share uses what listens on the address, if that is a factory serving the same folder.
func (s *Server) share(ctx context.Context, id string) (*Running, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	taken := &factory.Problem{Kind: factory.ErrUnavailable, What: "registry address " + s.Addr + " is taken by another program",
		Hint: "stop that program, or choose another address for the embedded registry"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/v2/", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		taken.Cause = err
		return nil, taken
	}
	defer resp.Body.Close()
	switch other := resp.Header.Get(Header); other {
	case id:
		return &Running{addr: s.Addr, shared: true}, nil
	case "":
		return nil, taken
	default:
		taken.What = "registry address " + s.Addr + " is taken by a factory with another state folder"
		return nil, taken
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
