// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"
	"strings"
	"time"

	"cityid/internal/bulk"
	"cityid/internal/office"
	"cityid/internal/web"
)

// A form without files is held in memory whole, so it is small; what has files
// may be large only where a page takes such files, and may then take its time.

const (
	plainBody  = 1 << 20          // octets of a body where nothing else is said
	uploadTime = 20 * time.Minute // for a body that may be larger
)

// bodies says how many octets the bodies of requests below a path may have.
var bodies = []struct {
	path  string
	form  int64 // without files
	files int64 // multipart/form-data
}{
	{"/apply/draft/evidence", plainBody, maxDocuments + plainBody},
	{"/field/", plainBody, 2*maxFieldPhoto + plainBody},
	{"/labels", maxPasted + plainBody, maxPhoto + plainBody},
	{"/report/", plainBody, maxFieldPhoto + plainBody},
	{"/prove/", 4 * maxApplicationFile, 4 * maxApplicationFile},
	{"/verify/", plainBody, maxPhoto + plainBody},
	{"/work/", 4 << 20, bulk.MaxFile + plainBody},
	{"/", plainBody, maxApplicationFile + plainBody},
}

// MaxBody returns how many octets the body of a request to the pages may have;
// pages that take files bound each of them besides.
func MaxBody(r *http.Request) int64 {
	switch r.URL.Path {
	case evidencePath:
		return office.MaxEnvelope
	case reportsPath:
		return maxReportJSON
	}
	for _, lang := range languages {
		path, ok := strings.CutPrefix(r.URL.Path, "/"+lang)
		if !ok {
			continue
		}
		for _, b := range bodies {
			switch {
			case !strings.HasPrefix(path, b.path):
			case strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data"):
				return b.files
			default:
				return b.form
			}
		}
	}
	return plainBody
}

// slowly gives a request with a large body the time it takes.
func slowly(w http.ResponseWriter, r *http.Request) {
	if MaxBody(r) > plainBody {
		web.SlowBody(w, r, uploadTime)
	}
}

// hidden are paths whose next segment lets whoever has it do or see something.
var hidden = []string{"/sign/", "/apply/status/", "/apply/receipt/"}

// LogPath returns a request's path as it may stand in a log: without what would
// open something for those who read the log.
func LogPath(r *http.Request) string {
	at := r.URL.EscapedPath()
	for _, before := range hidden {
		head, rest, ok := strings.Cut(at, before)
		if !ok || head != "/zh" && head != "/en" {
			continue
		}
		if _, more, ok := strings.Cut(rest, "/"); ok {
			return head + before + "…/" + more
		}
		return head + before + "…"
	}
	return at
}
