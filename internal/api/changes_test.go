// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"cityid"
	"cityid/client"
	"cityid/internal/api"
	"cityid/internal/web"
)

func TestChangesOverHTTP(t *testing.T) {
	source := &watchedSource{}
	w := newWorld(t, api.Config{Source: source, Poll: 20 * time.Millisecond}, web.Limits{})
	source.Engine = w.Engine
	c, err := client.New(w.url)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	at := w.height()
	waited := make(chan uint64)
	go func() {
		h, err := c.Await(ctx, at) // over several polls
		if err != nil {
			t.Error(err)
		}
		waited <- h
	}()
	source.awaited(t, at, 3)
	r := w.city(1)
	if h := <-waited; h < r.Height {
		t.Errorf("await %d: %d", at, h)
	}
	got, err := c.Changes(ctx, at)
	if err != nil || got.Gap || len(got.Codes) != 1 || got.Height != w.height() {
		t.Errorf("%+v, %v", got, err)
	}
	a, err := c.FindTransaction(ctx, r.ID)
	if err != nil || a.Body.Operations[0].Allocate == nil || a.Receipt.Height != r.Height {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := c.FindTransaction(ctx, cityid.Digest{1}); cityid.CodeOf(err) != cityid.ErrNotFound {
		t.Error(err)
	}
	request, _ := http.NewRequest(http.MethodGet, w.url+"/v1/transactions/"+r.ID.String()+"/body", nil)
	request.Header.Set("Accept", "application/cbor")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || string(raw) != string(a.Raw) || response.Header.Get("Content-Type") != "application/cbor" {
		t.Errorf("%d octets of %q, %v", len(raw), response.Header.Get("Content-Type"), err)
	}
}
