package buildkit

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/imagefactory/imagefactory/factory"
)

// fetchScript fetches a package with a client certificate, which BuildKit's own HTTP source cannot.
//
//go:embed scripts/fetch.py
var fetchScript []byte

const (
	secretsDir = "/.secrets"
	fetchedDir = "/.fetched"

	maxSecret = 500 << 10 // bytes, as BuildKit wants it
)

// secretFiles are files of this machine by the id that a definition knows them by. Only the id goes to the daemon, until a
// step asks for the content.
type secretFiles map[string]string

// Register offers the secrets in a session.
func (s secretFiles) Register(server *grpc.Server) { secrets.RegisterSecretsServer(server, s) }

// GetSecret reads a file. Its path stays here.
func (s secretFiles) GetSecret(_ context.Context, req *secrets.GetSecretRequest) (*secrets.GetSecretResponse, error) {
	file, ok := s[req.ID]
	if !ok {
		return nil, status.Error(codes.NotFound, "this run has no such secret")
	}
	b, err := os.ReadFile(file)
	if err != nil || len(b) > maxSecret {
		return nil, status.Error(codes.FailedPrecondition, "the file of the secret cannot be read, or is too large")
	}
	return &secrets.GetSecretResponse{Data: b}, nil
}

// remember adds secrets for all that this client solves later: a step may run again when its result has left the cache.
func (c *Client) remember(files secretFiles) error {
	for id, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("secret %s: %w", path.Base(id), err)
		}
		_ = f.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secrets == nil {
		c.secrets = secretFiles{}
	}
	maps.Copy(c.secrets, files)
	return nil
}

// attachable gives a session all secrets known so far.
func (c *Client) attachable() []session.Attachable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return []session.Attachable{maps.Clone(c.secrets)}
}

// stepSecrets mounts a step's secrets, readable for its user alone.
func (c *Client) stepSecrets(s factory.Step) (opts []llb.RunOption, err error) {
	files := secretFiles{}
	for _, at := range slices.Sorted(maps.Keys(s.Secrets)) {
		id := string(factory.DigestOf([]byte(s.Name + "\x00" + at)))[len("sha256:"):][:16] + at
		files[id] = s.Secrets[at]
		user, group, _ := strings.Cut(s.User, ":")
		uid, _ := strconv.Atoi(user) // a name is not known here: such a step's secrets are root's
		gid, _ := strconv.Atoi(group)
		opts = append(opts, llb.AddSecret(at, llb.SecretID(id), llb.SecretFileOpt(uid, gid, 0o400)))
	}
	return opts, c.remember(files)
}

// entitled is one package of an archive that asks for a client certificate, as a checksummed download.
func (c *Client) entitled(box llb.State, p factory.Package, at string, e factory.Entitlement) (llb.State, string, error) {
	ids := secretFiles{}
	name := path.Base(p.Path)
	opts := []llb.RunOption{
		llb.Args([]string{"/usr/bin/python3", "-s", ownDir + "/fetch.py", at, p.SHA256.Hex(), fmt.Sprint(p.Size), fetchedDir + "/" + name}),
		llb.WithCustomName(fetchPrefix + label(p)), llb.AddEnv("PYTHONDONTWRITEBYTECODE", "1"), llb.AddMount("/tmp", llb.Scratch(), llb.Tmpfs()),
	}
	for file, from := range map[string]string{"ca.pem": e.CA, "cert.pem": e.Cert, "key.pem": e.Key} {
		if from != "" {
			ids["entitlement/"+p.Archive+"/"+file] = from
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		opts = append(opts, llb.AddSecret(secretsDir+"/"+path.Base(id), llb.SecretID(id)))
	}
	if err := c.remember(ids); err != nil {
		return llb.State{}, "", &factory.Problem{Kind: factory.ErrInvalid, What: fmt.Sprintf("archive %q: its entitlement", p.Archive), Cause: err, Hint: "see entitlements." + p.Archive + " in factory.yaml"}
	}
	opts = append(opts, mountFiles(map[string]factory.File{ownDir + "/fetch.py": {Data: fetchScript}})...)
	return box.Run(opts...).AddMount(fetchedDir, llb.Scratch()), name, nil
}
