package forge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Jenkins is Jenkins' API to start builds with parameters.
type Jenkins struct {
	Log
	User, Token string
	Jobs        map[string][]string // declared parameters, by path: folder/job; nil = it has none
	// Crumbs has it ask for a crumb of the session, as before 2.96 for everybody.
	Crumbs bool

	state  sync.Mutex
	builds []Build
}

// Build is one that was queued.
type Build struct {
	Job        string
	Parameters map[string]string // the declared ones; others are dropped

	number    int // of the build; 0 = it waits in the queue
	cancelled bool
	forgotten bool // by the queue
	result    string
}

// Builds are all that were queued.
func (j *Jenkins) Builds() []Build {
	j.state.Lock()
	defer j.state.Unlock()
	return slices.Clone(j.builds)
}

const jenkinsPage = "<html><head><title>Error %d %s</title></head><body><h2>HTTP ERROR %d %s</h2></body></html>"

// ServeHTTP implements http.Handler.
func (j *Jenkins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if j.taken(w, r) {
		return
	}
	page := func(status int, said string) {
		w.Header().Set("Content-Type", "text/html;charset=iso-8859-1")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, jenkinsPage, status, said, status, said)
	}
	user, token, _ := r.BasicAuth()
	if user != j.User || token != j.Token {
		w.Header().Set("WWW-Authenticate", `Basic realm="Jenkins"`)
		page(401, "Invalid password/token for user: "+user)
		return
	}
	if r.URL.Path == "/crumbIssuer/api/json" && j.Crumbs {
		http.SetCookie(w, &http.Cookie{Name: "JSESSIONID.1", Value: "s3ss10n", HttpOnly: true})
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"crumb": "c0ffee", "crumbRequestField": "Jenkins-Crumb"})
		return
	}
	if path, api := strings.CutSuffix(r.URL.EscapedPath(), "/api/json"); api && r.Method == http.MethodGet {
		if v := j.look(path); v != nil {
			w.Header().Set("Content-Type", "application/json;charset=utf-8")
			_ = json.NewEncoder(w).Encode(v)
			return
		}
		page(404, "Not Found")
		return
	}
	path, build := strings.CutSuffix(r.URL.EscapedPath(), "/buildWithParameters")
	job, err := url.PathUnescape(strings.ReplaceAll(strings.TrimPrefix(path, "/job/"), "/job/", "/"))
	declared, there := j.Jobs[job]
	cookie, _ := r.Cookie("JSESSIONID.1")
	switch {
	case !build || err != nil || !there:
		page(404, "Not Found")
	case r.Method != http.MethodPost:
		page(405, "Method Not Allowed")
	case j.Crumbs && (r.Header.Get("Jenkins-Crumb") != "c0ffee" || cookie == nil || cookie.Value != "s3ss10n"):
		page(403, "No valid crumb was included in the request")
	case declared == nil:
		w.Header().Set("X-Error", job+" is not parameterized")
		page(400, job+" is not parameterized")
	case r.ParseForm() != nil:
		page(400, "Bad Request")
	default:
		b := Build{Job: job, Parameters: map[string]string{}}
		for _, name := range declared {
			b.Parameters[name] = r.PostForm.Get(name)
		}
		j.state.Lock()
		j.builds = append(j.builds, b)
		n := len(j.builds)
		j.state.Unlock()
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		w.Header().Set("Location", fmt.Sprintf("%s://%s/queue/item/%d/", scheme, r.Host, n))
		w.WriteHeader(http.StatusCreated)
	}
}
