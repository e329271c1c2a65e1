// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"

	"cityid/internal/web"
)

//go:embed assets
var assetFiles embed.FS

// assets are the files that pages refer to, under an address that holds a hash
// of them all, so that browsers keep them for good.
type assets struct {
	base  string // "/static/HASH/"
	files map[string]*asset
}

// asset is one file, with its compressed form if that is smaller.
type asset struct {
	mediaType string
	plain     []byte
	zipped    []byte
}

// loadAssets reads the embedded files and those in more (name to content). All
// style sheets become one, in order of name.
func loadAssets(more map[string][]byte) (*assets, error) {
	a := &assets{files: map[string]*asset{}}
	all := map[string][]byte{}
	for name, content := range more {
		all[name] = content
	}
	var css bytes.Buffer
	err := fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := assetFiles.ReadFile(name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".css" {
			css.Write(b)
			css.WriteByte('\n')
			return nil
		}
		all[path.Base(name)] = b
		return nil
	})
	if err != nil {
		return nil, err
	}
	all["site.css"] = css.Bytes()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		h.Write([]byte(name))
		h.Write(all[name])
		if a.files[name], err = newAsset(name, all[name]); err != nil {
			return nil, err
		}
	}
	a.base = "/static/" + hex.EncodeToString(h.Sum(nil)[:8]) + "/"
	return a, nil
}

func newAsset(name string, content []byte) (*asset, error) {
	a := &asset{mediaType: mime.TypeByExtension(path.Ext(name)), plain: content}
	switch path.Ext(name) {
	case ".mjs", ".js":
		a.mediaType = "text/javascript; charset=utf-8"
	case ".css":
		a.mediaType = "text/css; charset=utf-8"
	case ".svg":
		a.mediaType = "image/svg+xml"
	case ".webmanifest":
		a.mediaType = "application/manifest+json"
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(content); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if b.Len() < len(content) {
		a.zipped = b.Bytes()
	}
	return a, nil
}

// serve answers for /static/HASH/NAME. An older hash gets today's file without
// being kept, so that a page loaded before an upgrade still works.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f := a.files[r.PathValue("name")]
	if f == nil {
		web.Endpoint(web.NotFound).ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(r.URL.Path, a.base) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Vary", "Accept-Encoding")
	body := f.plain
	if f.zipped != nil && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body = f.zipped
	}
	web.WriteBytes(w, r, http.StatusOK, f.mediaType, body)
}

// acceptsGzip reports whether the client takes gzip.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q = strings.ReplaceAll(q, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}
