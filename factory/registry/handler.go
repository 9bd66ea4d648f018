package registry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the only driver that is used
	"github.com/sirupsen/logrus"

	"github.com/imagefactory/imagefactory/factory"
)

// handler returns the registry's HTTP handler. The folder must be locked.
func (s *Server) handler(ctx context.Context, id string) (h http.Handler, err error) {
	redirectLogs(s.log())
	root, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, err
	}
	if err := forgetUploads(root); err != nil {
		return nil, &factory.Problem{Kind: factory.ErrUnavailable, What: "registry folder", Cause: err}
	}
	// distribution panics when it cannot be set up.
	defer func() {
		if r := recover(); r != nil {
			err = &factory.Problem{Kind: factory.ErrUnavailable, What: "embedded registry", Cause: fmt.Errorf("%v", r)}
		}
	}()
	config := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  configuration.Parameters{"rootdirectory": root},
		"delete":      configuration.Parameters{"enabled": false},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.RelativeURLs = true
	config.Catalog.MaxEntries = 1000
	app := shelf{root}.serve(s.log(), &pinned{next: handlers.NewApp(ctx, config), repositories: repositories(root)})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(Header, id)
		if !mayWrite(r) {
			refuse(w, http.StatusForbidden, "DENIED", "other machines may only read")
			return
		}
		app.ServeHTTP(w, r)
	}), nil
}

// mayWrite holds writers to this machine: the embedded registry knows no credentials.
func mayWrite(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// repositories is where distribution keeps them.
func repositories(root string) string {
	return filepath.Join(root, "docker", "registry", "v2", "repositories")
}

// forgetUploads drops what uploads that were cut have left: their clients are gone with the process that served them.
func forgetUploads(root string) error {
	return filepath.WalkDir(repositories(root), func(path string, d os.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "_uploads":
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			return filepath.SkipDir
		case d.IsDir() && (d.Name() == "_layers" || d.Name() == "_manifests"):
			return filepath.SkipDir
		}
		return nil
	})
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// sink is where distribution's log lines go. It writes to a global logger that prints to stderr, with one line per
// request; the registry that was started last hears them instead.
var sink atomic.Pointer[slog.Logger]

type logHook struct{}

func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

func (logHook) Fire(e *logrus.Entry) error {
	attrs := []slog.Attr{slog.String("registry", e.Level.String())}
	for _, key := range []string{"http.request.method", "http.request.uri", "http.response.status", "err.message"} {
		if v, ok := e.Data[key]; ok {
			attrs = append(attrs, slog.Any(key, v))
		}
	}
	sink.Load().LogAttrs(context.Background(), slog.LevelDebug, e.Message, attrs...)
	return nil
}

func redirectLogs(to *slog.Logger) {
	if sink.Swap(to) != nil {
		return
	}
	logrus.SetOutput(io.Discard)
	logrus.AddHook(logHook{})
}
