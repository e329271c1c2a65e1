// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"cityid"
)

func TestNegotiate(t *testing.T) {
	const j, c = "application/json", "application/vnd.cityid.bundle+cbor"
	browser := "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	tests := []struct{ accept, want string }{ // want "": 406, "!": 400
		{"", j}, {"*/*", j}, {browser, j}, {c, c}, {j, j}, {"  ,, ," + c + " ,", c},
		{"APPLICATION/JSON", j}, {"application/*", j}, {"application/*;q=0.5," + c, c},
		{j + ";q=0.5, " + c + ";q=0.6", c}, {j + ";q=0.5, " + c + ";q=0.500", j},
		{"*/*, " + j + ";q=0", c}, {"application/*, " + j + ";q=0", c}, {"*/*;q=0", ""}, {"text/html", ""}, {"text/*", ""},
		{j + ";charset=utf-8", j}, {j + ` ; x="a,b;q=0\"" ; q=1.000`, j}, {"*/*;q=0.001", j},
		{"json", "!"}, {"*/json", "!"}, {"*", "!"}, {"application/", "!"}, {j + " " + c, "!"}, {j + ";q", "!"}, {j + ";q=", "!"},
		{j + ";q=1.001", "!"}, {j + ";q=2", "!"}, {j + ";q=-1", "!"}, {j + ";q=0.0000", "!"}, {j + ";q=.5", "!"}, {j + `;q="1"`, "!"},
		{j + `;x="open`, "!"}, {j + ";", "!"}, {j + ";q=0,5", "!"}, {"a/b\x00", "!"}, {"应用/json", "!"},
		{strings.Repeat("a/b,", 33), "!"}, {strings.Repeat("a/b,", 31) + j, j}, {strings.Repeat(" ", 2049), "!"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		if tt.accept != "" {
			r.Header.Set("Accept", tt.accept)
		}
		got, err := Negotiate(r, j, c)
		status := 200
		if err != nil {
			status = ProblemOf(err).Status
		}
		switch tt.want {
		case "":
			if status != 406 {
				t.Errorf("%.60q: %q, %v; want 406", tt.accept, got, err)
			}
		case "!":
			if status != 400 {
				t.Errorf("%.60q: %q, %v; want 400", tt.accept, got, err)
			}
		default:
			if got != tt.want || err != nil {
				t.Errorf("%.60q: %q, %v; want %q", tt.accept, got, err, tt.want)
			}
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header["Accept"] = []string{"text/html", c}
	if got, err := Negotiate(r, j, c); got != c {
		t.Errorf("two headers: %q, %v", got, err)
	}
}

func FuzzParseAccept(f *testing.F) {
	for _, s := range []string{"*/*", "a/b;q=0.5, c/*", `a/b;x="\"";q=1`, ",,", "a/b;", "\xff/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseAccept(s)
		if err != nil {
			if !errors.Is(err, cityid.ErrMalformed) && !errors.Is(err, cityid.ErrTooLarge) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if len(list) > maxRanges {
			t.Fatalf("%d ranges", len(list))
		}
		for _, m := range list {
			if m.Type == "" || m.Subtype == "" || m.Quality < 0 || m.Quality > 1000 {
				t.Fatalf("%q: range %+v", s, m)
			}
			again, err := ParseAccept(m.Type + "/" + m.Subtype)
			if err != nil || len(again) != 1 || again[0].Type != m.Type || again[0].Subtype != m.Subtype {
				t.Fatalf("%q: %+v does not parse again: %+v, %v", s, m, again, err)
			}
		}
	})
}
