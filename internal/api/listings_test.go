// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"testing"
	"time"

	"cityid"
)

// slowSource makes a listing when it is told to.
type slowSource struct {
	Source
	entered, release chan struct{}
}

func (s *slowSource) Children(context.Context, cityid.ChildrenQuery) (*cityid.RecordPage, error) {
	s.entered <- struct{}{}
	<-s.release
	return &cityid.RecordPage{}, nil
}

func (s *slowSource) Bundle(_ context.Context, q cityid.BundleQuery) ([]byte, error) {
	if q.Kind != cityid.AnswerRecord {
		s.entered <- struct{}{}
		<-s.release
	}
	return nil, nil
}

// Few listings are made at a time, and nothing else waits for them.
func TestListingsTakeTurns(t *testing.T) {
	s := &slowSource{entered: make(chan struct{}), release: make(chan struct{})}
	l := newListings(s)
	most := cap(l.turns)
	done := make(chan error, most+1)
	for i := range most {
		go func() {
			var err error
			if i%2 == 0 {
				_, err = l.Children(t.Context(), cityid.ChildrenQuery{})
			} else {
				_, err = l.Bundle(t.Context(), cityid.BundleQuery{Kind: cityid.AnswerDescendants})
			}
			done <- err
		}()
		<-s.entered
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Children(ctx, cityid.ChildrenQuery{}); err == nil {
		t.Error("one more listing is made")
	}
	if _, err := l.Bundle(t.Context(), cityid.BundleQuery{Kind: cityid.AnswerRecord}); err != nil {
		t.Errorf("a record has to wait: %v", err)
	}
	go func() {
		_, err := l.Children(t.Context(), cityid.ChildrenQuery{})
		done <- err
	}()
	close(s.release)
	<-s.entered
	for range most + 1 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
