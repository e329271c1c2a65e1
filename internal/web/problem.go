// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cityid"
)

// ProblemType is the media type of problems.
const ProblemType = "application/problem+json"

// rules says, for every error code, with which status it is answered, when to
// try again, and what the problem is called.
var rules = [...]struct {
	status int
	retry  time.Duration
	title  string
}{
	cityid.OK:              {http.StatusOK, 0, "No problem"},
	cityid.ErrMalformed:    {http.StatusBadRequest, 0, "The request cannot be understood"},
	cityid.ErrWrongChain:   {http.StatusUnprocessableEntity, 0, "Made for another chain"},
	cityid.ErrExpired:      {http.StatusUnprocessableEntity, 0, "The time to accept it is over"},
	cityid.ErrTooLarge:     {http.StatusRequestEntityTooLarge, 0, "A size limit is exceeded"},
	cityid.ErrSignature:    {http.StatusForbidden, 0, "A signature is missing or wrong"},
	cityid.ErrReplayed:     {http.StatusConflict, 0, "Already recorded"},
	cityid.ErrNotFound:     {http.StatusNotFound, 0, "There is nothing of this name"},
	cityid.ErrExists:       {http.StatusConflict, 0, "The code is already allocated"},
	cityid.ErrNotPermitted: {http.StatusForbidden, 0, "The signers may not do this"},
	cityid.ErrConflict:     {http.StatusConflict, 0, "The record has changed meanwhile"},
	cityid.ErrInvalid:      {http.StatusUnprocessableEntity, 0, "A field breaks its rule"},
	cityid.ErrParent:       {http.StatusUnprocessableEntity, 0, "The parent is missing, wrong or not active"},
	cityid.ErrRule:         {http.StatusUnprocessableEntity, 0, "Breaks the distribution rule"},
	cityid.ErrQuota:        {http.StatusUnprocessableEntity, 0, "A quota is exhausted"},
	cityid.ErrPolicy:       {http.StatusUnprocessableEntity, 0, "The policy is malformed or can never be met"},
	cityid.ErrPossession:   {http.StatusUnprocessableEntity, 0, "A key's proof of possession is missing or wrong"},
	cityid.ErrStatus:       {http.StatusConflict, 0, "The status does not allow this"},
	cityid.ErrDelay:        {http.StatusConflict, 0, "A delay does not allow this yet"},
	cityid.ErrStale:        {http.StatusConflict, 0, "The proposal has changed meanwhile"},
	cityid.ErrClosed:       {http.StatusConflict, 0, "The proposal is no longer open"},
	cityid.ErrCrosswalk:    {http.StatusUnprocessableEntity, 0, "Breaks a crosswalk scheme's rule"},
	cityid.ErrUnsupported:  {http.StatusUnprocessableEntity, 0, "Not supported"},
	cityid.ErrRetry:        {http.StatusServiceUnavailable, 30 * time.Second, "Frozen for a while"},
	cityid.ErrFull:         {http.StatusTooManyRequests, 2 * time.Second, "Too many requests at once"},
	cityid.ErrUnavailable:  {http.StatusServiceUnavailable, 5 * time.Second, "The node cannot answer now"},
	cityid.ErrInternal:     {http.StatusInternalServerError, 0, "A defect in the node"},
	cityid.ErrDelegated:    {http.StatusMisdirectedRequest, 0, "Another zone answers for this"},
}

// Status returns the HTTP status that answers an error code; 500 for codes it
// does not know.
func Status(code cityid.ErrorCode) int {
	if int(code) >= len(rules) {
		code = cityid.ErrInternal
	}
	return rules[code].status
}

// A Problem is the body of an answer that refuses: see the package comment.
// It is an error, so an [Endpoint] can return one.
type Problem struct {
	Type      string           `json:"type"`
	Title     string           `json:"title"`
	Status    int              `json:"status"`
	Detail    string           `json:"detail,omitempty"`
	Instance  string           `json:"instance,omitempty"`
	Code      cityid.ErrorCode `json:"code"`
	Operation *int             `json:"operation,omitempty"` // nil: the whole

	Receipt              *cityid.Receipt `json:"receipt,omitempty"` // of a transaction that was refused in a block
	*cityid.RecordAnswer                 // of a retired code, with the members of any answer for a code
	Heir                 cityid.Code     `json:"heir,omitzero"`        // of a retired code
	Successors           []cityid.Code   `json:"successors,omitempty"` // of a retired code

	retry time.Duration
	cause error // for the log
}

// Error returns the code and the detail.
func (p *Problem) Error() string { return fmt.Sprintf("%s (%s)", p.Detail, p.Code) }

// Unwrap returns the code.
func (p *Problem) Unwrap() error { return p.Code }

// Refuse returns a problem with a status of its own, for what concerns HTTP
// alone. The detail is in lower case without a full stop.
func Refuse(status int, code cityid.ErrorCode, format string, args ...any) *Problem {
	p := newProblem(code, fmt.Sprintf(format, args...))
	p.Status = status
	return p
}

// RetryAfter sets when the client should try again, and returns p.
func (p *Problem) RetryAfter(d time.Duration) *Problem {
	p.retry = d
	return p
}

func newProblem(code cityid.ErrorCode, detail string) *Problem {
	if int(code) >= len(rules) || code == cityid.OK {
		code = cityid.ErrInternal
	}
	rule := rules[code]
	return &Problem{
		Type: "urn:cityid:problem:" + code.String(), Title: rule.title, Status: rule.status,
		Detail: detail, Code: code, retry: rule.retry,
	}
}

// ProblemOf returns the problem that answers err: err itself if it is one, else
// by its [cityid.ErrorCode]. A body over its cap is "too-large", a deadline that
// passed is "unavailable", and anything without a code is "internal", whose
// text is kept back.
func ProblemOf(err error) *Problem {
	var (
		problem *Problem
		refusal *cityid.Error
		body    *http.MaxBytesError
	)
	switch {
	case errors.As(err, &problem):
		again := *problem
		again.cause = problem
		return &again
	case errors.As(err, &body):
		return newProblem(cityid.ErrTooLarge, fmt.Sprintf("the request's body is too large: at most %d octets", body.Limit))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		problem = newProblem(cityid.ErrUnavailable, "the answer took too long: try again")
	case cityid.CodeOf(err) == cityid.ErrInternal || cityid.CodeOf(err) == cityid.OK:
		problem = newProblem(cityid.ErrInternal, "the node met a defect: its operator finds the cause in the log under this request's id")
	case errors.As(err, &refusal):
		problem = newProblem(refusal.Code, refusal.Message)
		if refusal.Operation >= 0 {
			problem.Operation = &refusal.Operation
		}
	default:
		problem = newProblem(cityid.CodeOf(err), err.Error())
	}
	problem.cause = err
	return problem
}

// WriteError answers with the problem of err. Nothing may have been written
// before; headers that are set stay, except those that describe a body.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	p := ProblemOf(err)
	if info := infoOf(r.Context()); info != nil {
		p.Instance = "urn:cityid:request:" + info.id
		info.err = p.cause
	}
	body, err := json.Marshal(p)
	if err != nil { // only an extension can fail to encode
		p.RecordAnswer, p.Receipt = nil, nil
		body, _ = json.Marshal(p)
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Content-Disposition", "Content-Encoding", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Content-Type", ProblemType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	if p.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.retry+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}
