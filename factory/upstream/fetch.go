package upstream

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/imagefactory/imagefactory/factory"
)

// fetcher keeps packages in a folder by digest. What is there is whole and has its digest; what was cut off is resumed.
type fetcher struct {
	dir      string
	archives map[string]string
	http     *http.Client
	progress func(done, total int64)
}

const (
	fetchWidth = 8
	fetchTries = 3
)

// errCut is a download that ended early and may be continued.
var errCut = errors.New("the download was cut off")

func (f fetcher) path(p factory.Package) string { return filepath.Join(f.dir, p.SHA256.Hex()+".deb") }

// fetch makes sure that every package is in the folder. The first fault stops it.
func (f fetcher) fetch(ctx context.Context, pkgs []factory.Package) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pkgs = slices.Clone(pkgs)
	slices.SortFunc(pkgs, func(a, b factory.Package) int { return cmp.Compare(a.SHA256, b.SHA256) })
	pkgs = slices.CompactFunc(pkgs, func(a, b factory.Package) bool { return a.SHA256 == b.SHA256 })
	var total int64
	for _, p := range pkgs {
		total += p.Size
	}
	var done atomic.Int64
	advance := func(n int64) { f.progress(done.Add(n), total) }
	queue := make(chan factory.Package)
	var workers sync.WaitGroup
	for range fetchWidth {
		workers.Go(func() {
			for p := range queue {
				if err := f.one(ctx, p, advance); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, p := range pkgs {
		select {
		case queue <- p:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return syncFolders(f.dir)
}

func (f fetcher) one(ctx context.Context, p factory.Package, advance func(int64)) error {
	if ctx.Err() != nil {
		return nil
	}
	if info, err := os.Stat(f.path(p)); err == nil && info.Size() == p.Size {
		advance(p.Size)
		return nil
	}
	base, err := archiveURL(p.Archive, f.archives[p.Archive])
	if err != nil {
		return err
	}
	part := f.path(p) + ".part"
	sum, resumed, err := f.whole(ctx, base+"/"+p.Path, part, p)
	if err == nil && sum != p.SHA256 && resumed { // its beginning may have been another file's
		if err = os.Remove(part); err == nil {
			sum, _, err = f.whole(ctx, base+"/"+p.Path, part, p)
		}
	}
	switch {
	case err != nil:
		return err
	case sum != p.SHA256:
		return errors.Join(f.problem(factory.ErrUnverified, p, fmt.Errorf("it has the checksum %s", sum)), os.Remove(part))
	}
	advance(p.Size)
	return os.Rename(part, f.path(p))
}

// whole downloads all of a file into part and returns its digest, and whether a part of it was there from another download.
func (f fetcher) whole(ctx context.Context, url, part string, p factory.Package) (sum factory.Digest, resumed bool, err error) {
	for try := 1; ; try++ {
		more, err := f.download(ctx, url, part, p.Size)
		resumed = resumed || more
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) || try == fetchTries || ctx.Err() != nil {
			return "", false, f.problem(factory.ErrUnavailable, p, err)
		}
	}
	sum, err = fileDigest(part)
	return sum, resumed, err
}

func (f fetcher) problem(kind error, p factory.Package, cause error) error {
	return &factory.Problem{
		Kind: kind, What: fmt.Sprintf("archive %s: %s is not what the lock says", p.Archive, p.Path), Cause: cause,
		Hint: "when the archive has moved on, a new lock helps: factory lock",
	}
}

// download appends to what part has until it has size bytes. It reports whether part had some of them.
func (f fetcher) download(ctx context.Context, url, part string, size int64) (resumed bool, err error) {
	out, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return false, err
	}
	defer out.Close()
	have, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if have == size {
		return true, nil
	}
	if have > size {
		have = 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	if have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
	}
	res, err := client(f.http).Do(req)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errCut, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
		have = 0 // from the start
	case res.StatusCode == http.StatusPartialContent:
	case res.StatusCode >= 500:
		return false, fmt.Errorf("%w: %s", errCut, res.Status)
	default:
		return false, errors.New(res.Status)
	}
	if err := out.Truncate(have); err != nil {
		return false, err
	}
	// One byte more than expected is enough to know that it is another file.
	if _, err := io.Copy(out, io.LimitReader(res.Body, size-have+1)); err != nil {
		return have > 0, fmt.Errorf("%w: %w", errCut, err)
	}
	return have > 0, nil
}

// prune removes what is not one of pkgs.
func (f fetcher) prune(pkgs []factory.Package) error {
	keep := map[string]bool{}
	for _, p := range pkgs {
		keep[filepath.Base(f.path(p))] = true
	}
	entries, err := os.ReadDir(f.dir)
	for _, e := range entries {
		if !keep[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(f.dir, e.Name())))
		}
	}
	return err
}

func client(c *http.Client) *http.Client {
	if c == nil {
		return http.DefaultClient
	}
	return c
}

func fileDigest(name string) (factory.Digest, error) {
	r, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return factory.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil))), nil
}

// debName is the file name under which dpkg and apt know a package.
func debName(p factory.Package) string { return path.Base(p.Path) }
