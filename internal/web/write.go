// SPDX-License-Identifier: Apache-2.0

package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// JSONType is the media type of JSON.
const JSONType = "application/json"

// WriteJSON answers with the JSON encoding of v and a newline, as [WriteBytes]
// does. It writes nothing if v has no encoding.
func WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %T: %w", v, err)
	}
	WriteBytes(w, r, status, JSONType, append(body, '\n'))
	return nil
}

// WriteBytes answers with a body, under a strong entity tag and, unless the
// caller has set another, the Cache-Control "no-cache": keep it, but ask before
// using it. To a GET or HEAD that would be answered with 200 it answers 304 when
// If-None-Match names that tag.
func WriteBytes(w http.ResponseWriter, r *http.Request, status int, mediaType string, body []byte) {
	h := w.Header()
	tag := ETag(body)
	h.Set("ETag", tag)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	if status == http.StatusOK && (r.Method == http.MethodGet || r.Method == http.MethodHead) && NoneMatch(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	done := budgetOf(r.Context()).take(len(body))
	if done == nil {
		WriteError(w, r, errBusy())
		return
	}
	defer done()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// ETag returns the strong entity tag of a body: the first half of its SHA-256
// as base64url, in quotes.
func ETag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// NoneMatch reports whether the values of If-None-Match name tag, so that the
// answer is 304. It compares weakly, as RFC 9110, section 13.1.2, asks. A
// malformed list names what stands before the defect.
func NoneMatch(values []string, tag string) bool {
	list := strings.Trim(strings.Join(values, ","), " \t")
	if list == "*" {
		return true
	}
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		list = strings.TrimPrefix(list, "W/")
		if !strings.HasPrefix(list, `"`) {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if list[:end+2] == tag {
			return true
		}
		list = strings.TrimLeft(list[end+2:], " \t")
		if list != "" && list[0] != ',' {
			return false
		}
	}
	return false
}
