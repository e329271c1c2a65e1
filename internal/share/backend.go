// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"cityid"
)

// Bounds of backends.
const (
	backendTimeout = 60 * time.Second
	maxListing     = 10_000                      // names in a folder's listing
	maxSealedFile  = 1 << 30                     // octets of a file with sealed contents
	maxSealedLine  = cityid.MaxSealedContent + 1 // with its end
)

// answer is what a backend says. Body is nil for an empty one.
type answer struct {
	status      int
	contentType string
	body        io.ReadCloser
	patience    time.Duration // how long it may stand still; 0: the gateway's
}

// source is what stands behind a dataset.
type source interface {
	// fetch answers for a path below the dataset. Query is in its one form. The
	// error is a refusal, or says that the backend can not answer now.
	fetch(ctx context.Context, segments []string, query string) (*answer, error)
}

// errBackend says that the service behind a dataset does not answer as it should.
var errBackend = errors.New("the service behind the dataset does not answer")

// openSource returns what a backend's configuration describes.
func openSource(b *Backend) (source, error) {
	switch {
	case b.HTTP != "":
		return newService(b)
	case b.Files != "":
		root, err := os.OpenRoot(b.Files)
		if err != nil {
			return nil, fmt.Errorf("folder of files: %w", err)
		}
		return &files{root}, nil
	}
	return openSealed(b.Sealed)
}

// service is an HTTP service of the city.
type service struct {
	base    *url.URL
	client  *http.Client
	timeout time.Duration
}

func newService(b *Backend) (*service, error) {
	u, err := url.Parse(b.HTTP)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.DisableCompression = nil, true
	timeout := cmp.Or(time.Duration(b.Timeout), backendTimeout)
	t.MaxIdleConnsPerHost, t.ResponseHeaderTimeout = 64, timeout
	t.MaxResponseHeaderBytes = 64 << 10
	return &service{base: u, timeout: timeout, client: &http.Client{
		Transport: t, Timeout: 0,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// fetch asks the service. Nothing of the consumer's request goes on but the path
// and the parameters, which were checked; redirects are not followed.
func (s *service) fetch(ctx context.Context, segments []string, query string) (*answer, error) {
	u := s.base.JoinPath(segments...)
	u.RawQuery = query
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	r.Header.Set("User-Agent", "cityid-gateway")
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBackend, errors.Unwrap(err))
	}
	if resp.Header.Get("Content-Encoding") != "" || resp.StatusCode >= 300 && resp.StatusCode < 400 || resp.StatusCode < 200 || resp.StatusCode >= 500 {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: status %d, encoding %.40q", errBackend, resp.StatusCode, resp.Header.Get("Content-Encoding"))
	}
	return &answer{resp.StatusCode, cleanType(resp.Header.Get("Content-Type")), resp.Body, s.timeout}, nil
}

// cleanType returns a media type that can stand in a header.
func cleanType(s string) string {
	t, params, err := mime.ParseMediaType(s)
	if err != nil || len(s) > 200 {
		return "application/octet-stream"
	}
	s = mime.FormatMediaType(t, params)
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "application/octet-stream"
	}
	return s
}

// files is a folder. Nothing outside it can be reached, not by links either.
type files struct{ root *os.Root }

// fileEntry is one name in the listing of a folder.
type fileEntry struct {
	Name     string    `json:"name"`
	Folder   bool      `json:"folder,omitempty"`
	Size     int64     `json:"size,omitempty"`
	Modified time.Time `json:"modified"`
}

func (f *files) fetch(_ context.Context, segments []string, _ string) (*answer, error) {
	name := path.Join(segments...)
	// Without waiting: a pipe would have it wait for whoever writes.
	file, err := f.root.OpenFile(cmp.Or(name, "."), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if noSuchFile(err) {
			return nil, cityid.Errorf(cityid.ErrNotFound, "there is no %.120q in the dataset", "/"+name)
		}
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	switch {
	case info.IsDir():
		defer file.Close()
		return listing(file)
	case !info.Mode().IsRegular():
		file.Close()
		return nil, cityid.Errorf(cityid.ErrNotFound, "there is no file %.120q in the dataset", "/"+name)
	}
	return &answer{status: http.StatusOK, contentType: cleanType(mime.TypeByExtension(path.Ext(name))), body: file}, nil
}

// noSuchFile reports whether an error says that nothing has the name inside the
// folder, however the system words it.
func noSuchFile(err error) bool {
	for _, is := range []error{fs.ErrNotExist, fs.ErrInvalid, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.ENXIO} {
		if errors.Is(err, is) {
			return true
		}
	}
	return strings.Contains(err.Error(), "escapes")
}

func listing(dir *os.File) (*answer, error) {
	entries, err := dir.ReadDir(maxListing + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	if len(entries) > maxListing {
		return nil, cityid.Errorf(cityid.ErrTooLarge, "the folder holds more than %d names: ask for a folder in it", maxListing)
	}
	out := struct {
		Entries []fileEntry `json:"entries"`
	}{[]fileEntry{}}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		x := fileEntry{Name: e.Name(), Folder: info.IsDir(), Modified: info.ModTime().UTC().Truncate(time.Second)}
		if !x.Folder {
			x.Size = info.Size()
		}
		out.Entries = append(out.Entries, x)
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBackend, err)
	}
	return &answer{status: http.StatusOK, contentType: "application/json", body: io.NopCloser(strings.NewReader(string(body)))}, nil
}
