// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNoneMatch(t *testing.T) {
	tests := []struct {
		values string
		want   bool
	}{
		{`"a"`, true}, {`W/"a"`, true}, {`"b", "a"`, true}, {`"b" ,W/"a"`, true}, {`*`, true}, {` * `, true}, {`"a",`, true},
		{``, false}, {`"b"`, false}, {`a`, false}, {`"a`, false}, {`"b" "a"`, false}, {`w/"a"`, false}, {`"b"x,"a"`, false},
		{`"*"`, false}, {`,,,"a"`, true}, {`"x,"a""`, false}, {`""`, false},
	}
	for _, tt := range tests {
		if got := NoneMatch([]string{tt.values}, `"a"`); got != tt.want {
			t.Errorf("NoneMatch(%q) = %v", tt.values, got)
		}
	}
	if !NoneMatch([]string{`"b"`, `"a"`}, `"a"`) {
		t.Error("a second header is not read")
	}
	if NoneMatch(nil, `"a"`) {
		t.Error("no header matches")
	}
}

func FuzzNoneMatch(f *testing.F) {
	f.Add(`"a", W/"b"`)
	f.Add(`*`)
	f.Fuzz(func(t *testing.T, s string) {
		const tag = `"0123456789"`
		if NoneMatch([]string{s}, tag) && strings.Trim(s, " \t") != "*" && !strings.Contains(s, tag) {
			t.Fatalf("%q matches", s)
		}
		NoneMatch([]string{s}, `""`)
	})
}

func TestWriteBytes(t *testing.T) {
	write := func(method string, status int, noneMatch string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", nil)
		if noneMatch != "" {
			r.Header.Set("If-None-Match", noneMatch)
		}
		w := httptest.NewRecorder()
		WriteBytes(w, r, status, "text/plain", []byte("hello"))
		return w
	}
	w := write("GET", 200, "")
	tag := w.Header().Get("ETag")
	if w.Code != 200 || w.Body.String() != "hello" || w.Header().Get("Content-Length") != "5" || tag != ETag([]byte("hello")) || w.Header().Get("Cache-Control") != "no-cache" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if len(tag) != 24 || tag[0] != '"' || tag[23] != '"' || tag == ETag([]byte("hellO")) {
		t.Errorf("tag %s", tag)
	}
	w = write("GET", 200, tag)
	if w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("ETag") != tag || w.Header().Get("Content-Type") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, w := range []*httptest.ResponseRecorder{write("GET", 200, `"other"`), write("POST", 200, tag), write("GET", 404, tag)} {
		if w.Code == 304 {
			t.Error("304 where it must not be")
		}
	}
	if err := WriteJSON(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), 200, func() {}); err == nil {
		t.Error("a function has no encoding")
	}
}
