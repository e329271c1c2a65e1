// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"errors"
	"fmt"
)

// ErrorCode is a stable reason for which the registry or a node refuses
// something. The list is closed and append-only; the numbers are ABCI result
// codes and the names are what APIs and files carry. An ErrorCode is itself an
// error, so that errors.Is(err, cityid.ErrNotFound) asks for the reason of an
// [Error].
type ErrorCode uint32

// The error codes.
const (
	OK              ErrorCode = 0
	ErrMalformed    ErrorCode = 1  // cannot be decoded, or breaks a format's bounds
	ErrWrongChain   ErrorCode = 2  // made for another chain
	ErrExpired      ErrorCode = 3  // its time to be accepted is over
	ErrTooLarge     ErrorCode = 4  // exceeds a size limit
	ErrSignature    ErrorCode = 5  // a signature is missing or wrong
	ErrReplayed     ErrorCode = 6  // already recorded
	ErrNotFound     ErrorCode = 7  // names something that does not exist
	ErrExists       ErrorCode = 8  // the code is already allocated
	ErrNotPermitted ErrorCode = 9  // the signers do not meet the policy that decides
	ErrConflict     ErrorCode = 10 // made for another revision
	ErrInvalid      ErrorCode = 11 // a field breaks its rule
	ErrParent       ErrorCode = 12 // the parent is missing, wrong or not active
	ErrRule         ErrorCode = 13 // breaks the distribution rule
	ErrQuota        ErrorCode = 14 // exceeds a quota or a member's limit
	ErrPolicy       ErrorCode = 15 // the policy is malformed or can never be met
	ErrPossession   ErrorCode = 16 // a key's proof of possession is missing or wrong
	ErrStatus       ErrorCode = 17 // the status does not allow this
	ErrDelay        ErrorCode = 18 // a delay has not passed, or forbids this
	ErrStale        ErrorCode = 19 // approves or rejects something that has changed since
	ErrClosed       ErrorCode = 20 // the proposal is no longer open
	ErrCrosswalk    ErrorCode = 21 // breaks a crosswalk scheme's rule
	ErrUnsupported  ErrorCode = 22 // an operation this version does not apply
	ErrRetry        ErrorCode = 23 // frozen for a while; submit again later
	ErrFull         ErrorCode = 24 // the node's queue is full; submit again later
	ErrUnavailable  ErrorCode = 25 // the node cannot answer now
	ErrInternal     ErrorCode = 26 // a defect
	ErrDelegated    ErrorCode = 27 // the code belongs to a zone of its own; ask and submit there
)

var errorNames = [...]string{
	"ok", "malformed", "wrong-chain", "expired", "too-large", "signature", "replayed", "not-found", "exists",
	"not-permitted", "conflict", "invalid", "parent", "rule", "quota", "policy", "possession", "status", "delay",
	"stale", "closed", "crosswalk", "unsupported", "retry", "full", "unavailable", "internal", "delegated",
}

// String returns the code's name.
func (c ErrorCode) String() string {
	if int(c) < len(errorNames) {
		return errorNames[c]
	}
	return fmt.Sprintf("error-%d", uint32(c))
}

// Error returns the code's name.
func (c ErrorCode) Error() string { return c.String() }

// MarshalText returns the code's name.
func (c ErrorCode) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses a code's name; names of later versions become
// [ErrInternal].
func (c *ErrorCode) UnmarshalText(text []byte) error {
	for i, n := range errorNames {
		if n == string(text) {
			*c = ErrorCode(i)
			return nil
		}
	}
	*c = ErrInternal
	return nil
}

// Error is a refusal: its stable code, the operation it concerns, and a
// sentence for people.
type Error struct {
	Code      ErrorCode `json:"code"`
	Operation int       `json:"operation"` // index in the transaction, or -1 for the whole
	Message   string    `json:"message"`   // lower case, no full stop
}

// Error returns the message, led by the operation's index if there is one.
func (e *Error) Error() string {
	if e.Operation >= 0 {
		return fmt.Sprintf("operation %d: %s (%s)", e.Operation, e.Message, e.Code)
	}
	return fmt.Sprintf("%s (%s)", e.Message, e.Code)
}

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }

// Errorf returns an [Error] that concerns no single operation.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Operation: -1, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the [ErrorCode] in err's chain, [OK] for nil, and
// [ErrInternal] for any other error.
func CodeOf(err error) ErrorCode {
	if err == nil {
		return OK
	}
	var c ErrorCode
	if errors.As(err, &c) {
		return c
	}
	return ErrInternal
}
