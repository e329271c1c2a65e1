// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestInterruptible(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	defer w.Close()
	go cancel()
	if _, err := interruptible(ctx, func() ([]byte, error) { return io.ReadAll(r) }); !errors.Is(err, context.Canceled) {
		t.Fatalf("a wait that was interrupted returns %v", err)
	}
	got, err := interruptible(context.Background(), func() (string, error) { return "x", nil })
	if got != "x" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestStrictJSON(t *testing.T) {
	type inner struct {
		Name string         `json:"name"`
		Map  map[string]any `json:"map"`
	}
	type value struct {
		Version int     `json:"version"`
		List    []inner `json:"list"`
	}
	for _, c := range []struct{ in, want string }{
		{`{"version": 1, "list": [{"name": "version"}, {"name": "name"}]}`, ""},
		{`{"list": [{"map": {"a": {"a": [{"a": 1}, {"a": 1}]}, "b": {}}}], "version": 1}`, ""},
		{`{"version": 1, "version": 1}`, "stands twice"},
		{`{"version": 1, "VERSION": 2}`, "stands twice"},
		{`{"version": 1, "vers\u0069on": 2}`, "stands twice"},
		{`{"list": [{"name": "a", "map": {}, "name": "b"}]}`, "stands twice"},
		{`{"list": [{"map": {"a": [], "a": []}}]}`, "stands twice"},
		{`{"other": 1}`, "unknown field"},
		{`{"version": 1} {}`, "follows"},
		{`{"version": 1`, "ends in the middle"},
		{``, "empty"},
		{`{"version": "1"}`, "cannot unmarshal"},
	} {
		var v value
		err := strictJSON([]byte(c.in), &v)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.in, err, c.want)
		}
	}
}
