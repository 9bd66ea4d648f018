package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/imagefactory/imagefactory/factory"
)

// setting is one line of the configuration: where and how, never what.
type setting struct {
	Key, Env, Default, Help string
	flag                    string // empty = Key; "-" = none
}

// settings is the whole configuration. README's table is tested against it.
var settings = []setting{
	{Key: "dir", Env: "FACTORY_DIR", Default: "the nearest folder upwards with baseimages/", Help: "repository with baseimages/ and ansible/"},
	{Key: "state", Env: "FACTORY_STATE", Default: "DIR/.factory", Help: "state: database, registry, build cache, keys"},
	{Key: "registry", Env: "FACTORY_REGISTRY", Default: "embedded", Help: "registry and path that images are published below, or embedded"},
	{Key: "registry-addr", Env: "FACTORY_REGISTRY_ADDR", Default: "127.0.0.1:5117", Help: "address of the embedded registry"},
	{Key: "database", Env: "FACTORY_DATABASE", Default: "STATE/factory.db", Help: "sqlite:PATH or postgres://…"},
	{Key: "buildkit", Env: "BUILDKIT_HOST", Default: "own", Help: "address of a running buildkitd, or own"},
	{Key: "buildkit-cache", Env: "FACTORY_BUILDKIT_CACHE", Default: "10GiB", Help: "build cache that the factory's own buildkitd keeps"},
	{Key: "key", Env: "FACTORY_KEY", Default: "STATE/keys/cosign.key", Help: "signing key: a file, a KMS URI (awskms:// gcpkms:// azurekms:// hashivault://) or keyless"},
	{Key: "key-password", Env: "FACTORY_KEY_PASSWORD", Default: "", Help: "reference to the key's password: env:NAME or file:PATH", flag: "-"},
	{Key: "identity-token", Env: "FACTORY_IDENTITY_TOKEN", Default: "", Help: "keyless: reference to the OIDC token, env:NAME or file:PATH", flag: "-"},
	{Key: "identity", Env: "FACTORY_IDENTITY", Default: "", Help: "keyless: the identity that signatures must carry", flag: "-"},
	{Key: "issuer", Env: "FACTORY_ISSUER", Default: "", Help: "keyless: the OIDC issuer that signatures must carry", flag: "-"},
	{Key: "fulcio", Env: "FACTORY_FULCIO", Default: "", Help: "keyless: URL of the certificate authority; empty = the public one", flag: "-"},
	{Key: "trusted-root", Env: "FACTORY_TRUSTED_ROOT", Default: "", Help: "keyless: file that names the trusted certificate authorities and logs (trusted_root.json); empty = the public ones", flag: "-"},
	{Key: "rekor", Env: "FACTORY_REKOR", Default: "", Help: "URL of a transparency log to record signatures in; empty = none, keyless: the public one", flag: "-"},
	{Key: "vulnerabilities", Env: "FACTORY_VULNERABILITIES", Default: "auto", Help: "vulnerability data: auto (the public database, else archive), archive (what the archives say themselves), a folder, or a reference in a registry"},
	{Key: "scanner", Env: "FACTORY_SCANNER", Default: "factory-scanner beside this program", Help: "scanner program; further ones after commas add their findings"},
	{Key: "width", Env: "FACTORY_WIDTH", Default: "2", Help: "images made at once"},
	{Key: "max-age", Env: "FACTORY_MAX_AGE", Default: "7d", Help: "a release older than this is rebuilt although nothing changed"},
	{Key: "env", Env: "FACTORY_ENV", Default: "dev", Help: "environment that new releases are tagged for"},
	{Key: "heartbeat", Env: "FACTORY_HEARTBEAT", Default: "", Help: "monitor that a night tells how it ended: env:NAME or file:PATH with its URL, or the URL; empty = none", flag: "-"},
	{Key: "canary-wait", Env: "FACTORY_CANARY_WAIT", Default: "30m", Help: "how long canaries among the dependents hold the others back", flag: "-"},
	{Key: "trigger-timeout", Env: "FACTORY_TRIGGER_TIMEOUT", Default: "30s", Help: "how long a server may take to be told of a release, and to answer", flag: "-"},
	{Key: "cause", Env: "FACTORY_CAUSE", Default: "", Help: "id of the factory's own trigger that asked for this run; its releases say so, and it is not told of them again", flag: "-"},
	{Key: "progress", Env: "FACTORY_PROGRESS", Default: "auto", Help: "auto, tty, plain or json"},
}

// value is a setting's value and where it came from.
type value struct {
	Value  string `json:"value"`
	Origin string `json:"origin"` // flag, FACTORY_X, factory.yaml:3, default
}

// config is the configuration, parsed. Archives come from the file, then from the host's apt and dnf.
type config struct {
	values   map[string]value
	Archives map[string]string
	archives map[string]string // origin by id
	// Entitlements are the client certificates that archives ask for, by archive id.
	Entitlements map[string]factory.Entitlement
	// Servers are those that dependents are told through, by id.
	Servers map[string]factory.Server

	Dir, State     string
	Embedded       bool
	Registry, Addr string
	Database       string
	Buildkit       string // empty = own
	BuildkitCache  int64
	Key            string
	Width          int
	MaxAge         time.Duration
	Env            factory.Env
	CanaryWait     time.Duration
	TriggerTimeout time.Duration
	Progress       string
	// Vulnerabilities is auto, archive, a folder or a reference; Scanners are programs, the first makes the SBOMs.
	Vulnerabilities string
	Scanners        []string
}

// loadConfig reads flags > environment > file > defaults. Every problem is reported at once, with what could be read.
func loadConfig(flags map[string]string, file string, env func(string) (string, bool), hostArchives func() (map[string]string, error)) (*config, error) {
	c := &config{values: map[string]value{}, Archives: map[string]string{}, archives: map[string]string{}, Entitlements: map[string]factory.Entitlement{}, Servers: map[string]factory.Server{}}
	dir, err := c.findDir(flags, env)
	if err != nil {
		return nil, err
	}
	fromFile, err := c.readFile(cmp.Or(file, filepath.Join(dir.Value, "factory.yaml")), file != "")
	if err != nil {
		return c, err
	}
	for _, s := range settings {
		v := value{s.Default, "default"}
		if f, ok := fromFile[s.Key]; ok {
			v = f
		}
		if e, ok := env(s.Env); ok && e != "" {
			v = value{e, s.Env}
		}
		if f, ok := flags[s.Key]; ok {
			v = value{f, "--" + s.Key}
		}
		c.values[s.Key] = v
	}
	c.values["dir"] = dir
	host, err := hostArchives()
	if err == nil {
		for id, url := range host {
			if c.Archives[id] == "" {
				c.Archives[id], c.archives[id] = url, hostOrigin(id)
			}
		}
	}
	return c, c.parse()
}

// hostOrigin says whose configuration an archive of this host is from.
func hostOrigin(id string) string {
	if strings.HasPrefix(id, "debian") {
		return "apt configuration of this host"
	}
	return "dnf configuration of this host"
}

// findDir decides the repository folder first, because the file lies in it.
func (c *config) findDir(flags map[string]string, env func(string) (string, bool)) (value, error) {
	if d, ok := flags["dir"]; ok {
		abs, err := filepath.Abs(d)
		return value{abs, "--dir"}, err
	}
	if d, ok := env("FACTORY_DIR"); ok && d != "" {
		abs, err := filepath.Abs(d)
		return value{abs, "FACTORY_DIR"}, err
	}
	wd, err := os.Getwd()
	if err != nil {
		return value{}, err
	}
	for d := wd; ; d = filepath.Dir(d) {
		if info, err := os.Stat(filepath.Join(d, "baseimages")); err == nil && info.IsDir() {
			return value{d, "default"}, nil
		}
		if d == filepath.Dir(d) {
			return value{wd, "default"}, nil
		}
	}
}

// readFile reads factory.yaml: settings by their key, and archives.
func (c *config) readFile(path string, required bool) (map[string]value, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return nil, nil
	}
	if err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "configuration", Cause: err}
	}
	var raw map[string]any
	if err := yaml.Unmarshal(b, &raw); err != nil {
		return nil, &factory.Problem{Kind: factory.ErrInvalid, What: "not YAML", Where: factory.Position{File: path}, Cause: err}
	}
	values := map[string]value{}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		v := raw[key]
		known := slices.ContainsFunc(settings, func(s setting) bool { return s.Key == key && key != "dir" })
		archives, isMap := v.(map[string]any)
		_, isList := v.([]any)
		line := lineOf(b, key)
		switch {
		case v == nil && (known || key == "archives" || key == "entitlements" || key == "servers"): // a key without a value is not set
		case key == "archives" && isMap:
			for id, url := range archives {
				c.Archives[id], c.archives[id] = fmt.Sprint(url), filepath.Base(path)
			}
		case key == "entitlements" && isMap:
			problems = append(problems, c.readEntitlements(path, line, archives)...)
		case key == "servers" && isMap:
			problems = append(problems, c.readServers(path, line, archives)...)
		case known && !isMap && !isList:
			values[key] = value{fmt.Sprint(v), factory.Position{File: filepath.Base(path), Line: line}.String()}
		default:
			problems = append(problems, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("unknown or malformed setting %q", key),
				Where: factory.Position{File: path, Line: line}, Hint: "factory config lists every setting"})
		}
	}
	return values, errors.Join(problems...)
}

// lineOf finds the line of a top-level key; 0 = it is written in some unusual way.
func lineOf(yaml []byte, key string) int {
	for i, line := range strings.Split(string(yaml), "\n") {
		name, _, ok := strings.Cut(line, ":")
		if ok && strings.Trim(name, `"'`) == key {
			return i + 1
		}
	}
	return 0
}

// parse turns texts into values, collecting every problem.
func (c *config) parse() error {
	var problems []error
	bad := func(key, expected string) {
		v := c.values[key]
		problems = append(problems, &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("%s (from %s): %q", key, v.Origin, v.Value), Hint: "expected " + expected})
	}
	get := func(key string) string { return c.values[key].Value }
	def := func(key, v string) {
		if c.values[key].Origin == "default" {
			c.values[key] = value{v, "default"}
		}
	}
	c.Dir = get("dir")
	def("state", filepath.Join(c.Dir, ".factory"))
	abs, err := filepath.Abs(get("state"))
	if err != nil {
		problems = append(problems, err)
	}
	c.State = abs
	def("database", filepath.Join(c.State, "factory.db"))
	def("key", filepath.Join(c.State, "keys", "cosign.key"))
	if exe, err := os.Executable(); err == nil {
		def("scanner", filepath.Join(filepath.Dir(exe), "factory-scanner"))
	}
	c.Vulnerabilities, c.Scanners = get("vulnerabilities"), strings.Split(get("scanner"), ",")
	if v := c.Vulnerabilities; v != "auto" && v != "archive" && !isFolder(v) {
		if _, err := factory.ParseRef(v); err != nil {
			bad("vulnerabilities", "auto, archive, a folder, or a reference such as registry.example.com/security/trivy-db:2")
		}
	}
	if slices.Contains(c.Scanners, "") {
		bad("scanner", "a program's path, or several with commas between them")
	}
	c.Database, c.Key, c.Addr, c.Progress = get("database"), get("key"), get("registry-addr"), get("progress")
	if c.Registry = strings.TrimSuffix(get("registry"), "/"); c.Registry == "embedded" {
		c.Embedded, c.Registry = true, c.Addr
	}
	if c.Buildkit = get("buildkit"); c.Buildkit == "own" {
		c.Buildkit = ""
	}
	if c.BuildkitCache, err = parseBytes(get("buildkit-cache")); err != nil {
		bad("buildkit-cache", "a size such as 10GiB")
	}
	if c.Width, err = strconv.Atoi(get("width")); err != nil || c.Width < 1 || c.Width > 64 {
		bad("width", "a number from 1 to 64")
	}
	if c.MaxAge, err = parseAge(get("max-age")); err != nil {
		bad("max-age", "a duration such as 7d or 36h")
	}
	if c.CanaryWait, err = parseAge(get("canary-wait")); err != nil {
		bad("canary-wait", "a duration such as 30m")
	}
	if c.TriggerTimeout, err = parseAge(get("trigger-timeout")); err != nil || c.TriggerTimeout > longestCall {
		bad("trigger-timeout", "a duration such as 30s, an hour at most")
	}
	if c.Env, err = factory.ParseEnv(get("env")); err != nil {
		bad("env", "dev, staging or prod")
	}
	if !slices.Contains([]string{"auto", "tty", "plain", "json"}, c.Progress) {
		bad("progress", "auto, tty, plain or json")
	}
	if v := get("cause"); v != "" && !causeForm.MatchString(v) {
		bad("cause", "the id of a trigger: letters, digits, dots and dashes")
	}
	for _, key := range []string{"key-password", "identity-token"} {
		if v := get(key); v != "" && !isReference(v) {
			c.values[key] = value{"(hidden)", c.values[key].Origin}
			bad(key, "a reference, env:NAME or file:PATH, never the secret itself")
		}
	}
	if checkHeartbeat(get("heartbeat")) != nil {
		c.values["heartbeat"] = value{"(hidden)", c.values["heartbeat"].Origin}
		bad("heartbeat", "https://…, env:NAME or file:PATH")
	}
	return errors.Join(problems...)
}

func parseBytes(s string) (int64, error) {
	for unit, n := range map[string]int64{"GiB": 1 << 30, "MiB": 1 << 20} {
		if num, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseInt(num, 10, 32)
			if err == nil && v <= 0 {
				err = strconv.ErrRange
			}
			return v * n, err
		}
	}
	return 0, strconv.ErrSyntax
}

// parseAge reads a positive duration, with d for days of 24 hours.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || n == 0 {
			return 0, strconv.ErrSyntax
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = strconv.ErrRange
	}
	return d, err
}
