// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cityid"
)

// errorCodes lists every code the root package knows.
func errorCodes() []cityid.ErrorCode {
	var list []cityid.ErrorCode
	for c := cityid.OK; !strings.HasPrefix(c.String(), "error-"); c++ {
		list = append(list, c)
	}
	return list
}

func TestEveryCodeHasARule(t *testing.T) {
	if got, want := len(rules), len(errorCodes()); got != want {
		t.Fatalf("%d rules for %d codes", got, want)
	}
	for _, c := range errorCodes() {
		rule := rules[c]
		if rule.title == "" || http.StatusText(rule.status) == "" {
			t.Errorf("%s: status %d, title %q", c, rule.status, rule.title)
		}
		if c != cityid.OK && rule.status < 400 {
			t.Errorf("%s: status %d for a refusal", c, rule.status)
		}
		again := rule.status == http.StatusTooManyRequests || rule.status == http.StatusServiceUnavailable
		if again != (rule.retry > 0) {
			t.Errorf("%s: status %d, retry after %s", c, rule.status, rule.retry)
		}
		if Status(c) != rule.status {
			t.Errorf("Status(%s) = %d", c, Status(c))
		}
	}
	if got := Status(9999); got != 500 {
		t.Errorf("status of an unknown code: %d", got)
	}
}

func writeError(t *testing.T, err error) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	w.Header().Set("ETag", `"x"`)
	WriteError(w, httptest.NewRequest("GET", "/", nil), err)
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	if w.Header().Get("ETag") != "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
	if got := int(m["status"].(float64)); got != w.Code {
		t.Errorf("member status %d, status %d", got, w.Code)
	}
	return w, m
}

func TestWriteError(t *testing.T) {
	secret := errors.New("open /var/lib/secret: broken")
	tests := []struct {
		name   string
		err    error
		status int
		code   string
		detail string // part of it
	}{
		{"refusal", cityid.Errorf(cityid.ErrConflict, "at revision 4"), 409, "conflict", "at revision 4"},
		{"wrapped", fmt.Errorf("read: %w", cityid.Errorf(cityid.ErrNotFound, "no MA.156")), 404, "not-found", "no MA.156"},
		{"bare code", cityid.ErrFull, 429, "full", "full"},
		{"defect", secret, 500, "internal", "defect"},
		{"coded defect", cityid.Errorf(cityid.ErrInternal, "%v", secret), 500, "internal", "defect"},
		{"ok is no refusal", cityid.OK, 500, "internal", "defect"},
		{"unknown code", cityid.ErrorCode(999), 500, "internal", "error-999"},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), 503, "unavailable", "too long"},
		{"body", &http.MaxBytesError{Limit: 7}, 413, "too-large", "at most 7"},
		{"own status", Refuse(http.StatusGone, cityid.ErrStatus, "retired"), 410, "status", "retired"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, m := writeError(t, tt.err)
			if w.Code != tt.status || m["code"] != tt.code || m["type"] != "urn:cityid:problem:"+tt.code {
				t.Errorf("status %d, code %v, type %v", w.Code, m["code"], m["type"])
			}
			if detail, _ := m["detail"].(string); !strings.Contains(detail, tt.detail) || strings.Contains(detail, "secret") {
				t.Errorf("detail %q", detail)
			}
			if _, ok := m["operation"]; ok {
				t.Error("operation given for the whole")
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (tt.status == 429 || tt.status == 503) {
				t.Errorf("Retry-After %q", retry)
			}
		})
	}
	_, m := writeError(t, &cityid.Error{Code: cityid.ErrRule, Operation: 0, Message: "x"})
	if m["operation"] != 0.0 {
		t.Errorf("operation %v, want 0", m["operation"])
	}
}

func TestProblemCarriesRecord(t *testing.T) {
	p := Refuse(http.StatusGone, cityid.ErrStatus, "retired")
	p.RecordAnswer = &cityid.RecordAnswer{Display: "MA.156*00"}
	p.Successors = []cityid.Code{cityid.MustParse("MA.157")}
	_, m := writeError(t, p)
	if m["display"] != "MA.156*00" || m["record"] == nil || fmt.Sprint(m["successors"]) != "[MA.157]" {
		t.Errorf("members %v", m)
	}
	p.Code = cityid.ErrStatus
	if !errors.Is(p, cityid.ErrStatus) || p.Error() != "retired (status)" {
		t.Errorf("as an error: %v", p)
	}
}

func TestMethods(t *testing.T) {
	ok := func(w http.ResponseWriter, r *http.Request) error {
		WriteBytes(w, r, http.StatusOK, "text/plain", []byte("body"))
		return nil
	}
	h := Methods{"GET": ok, "POST": ok}
	tests := []struct {
		method string
		status int
	}{
		{"GET", 200}, {"HEAD", 200}, {"POST", 200}, {"OPTIONS", 204}, {"DELETE", 405}, {"PUT", 405}, {"get", 405}, {"BREW", 405},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, "/", nil))
		if w.Code != tt.status {
			t.Errorf("%s: status %d, want %d", tt.method, w.Code, tt.status)
		}
		if allow := w.Header().Get("Allow"); tt.status != 200 && allow != "GET, HEAD, OPTIONS, POST" {
			t.Errorf("%s: Allow %q", tt.method, allow)
		}
	}
	w := httptest.NewRecorder()
	Methods{"POST": ok}.ServeHTTP(w, httptest.NewRequest("HEAD", "/", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "OPTIONS, POST" {
		t.Errorf("HEAD without GET: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}
