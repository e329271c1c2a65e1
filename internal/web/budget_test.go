// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// slowWriter is a client that reads when it is told to.
type slowWriter struct {
	*httptest.ResponseRecorder
	entered, release chan struct{}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	w.entered <- struct{}{}
	<-w.release
	return len(b), nil
}

// Clients that ask for large answers and do not read them take a bounded amount
// of memory.
func TestLargeAnswers(t *testing.T) {
	const size = 32 << 20
	large := make([]byte, size)
	h := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := large
		if r.URL.Path == "/small" {
			body = large[:1000]
		}
		WriteBytes(w, r, http.StatusOK, "application/octet-stream", body)
	}), WrapConfig{})
	slow := &slowWriter{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	finished := make(chan struct{})
	const most = largeAnswers / size
	for range most {
		go func() {
			h.ServeHTTP(&slowWriter{httptest.NewRecorder(), slow.entered, slow.release}, httptest.NewRequest("GET", "/", nil))
			finished <- struct{}{}
		}()
		<-slow.entered
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	if w := get("/"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("ETag") != "" {
		t.Errorf("one more: %d %v", w.Code, w.Header())
	}
	if w := get("/small"); w.Code != http.StatusOK {
		t.Errorf("a small answer: %d", w.Code)
	}
	close(slow.release)
	for range most {
		<-finished
	}
	if w := get("/"); w.Code != http.StatusOK || w.Body.Len() != size {
		t.Errorf("afterwards: %d", w.Code)
	}
}
