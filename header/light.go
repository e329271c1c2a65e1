// SPDX-License-Identifier: Apache-2.0

package header

import "time"

// VerifyAdjacent reports whether h is the header that follows trusted: one height
// above, later, of the same chain, by the validators which trusted names as the
// next, and signed by more than two thirds of them ([VerifyCommit]).
//
// Of trusted it reads ChainID, Height, Time and NextValidatorsHash only; whoever
// keeps just these may put them into an otherwise empty Header. Whether trusted is
// still young enough to build on is the caller's to decide ([Header.Expired]).
//
// The error wraps [ErrNotConnected] if h is sound but not one height above trusted,
// else [ErrInvalid].
func VerifyAdjacent(trusted, h *Header, vals Validators, c *Commit, verify VerifyFunc) error {
	if trusted == nil {
		return invalid("trusted header is missing")
	}
	if _, err := verifyCommit(trusted.ChainID, nil, vals, h, c, verify); err != nil {
		return err
	}
	if err := follows(trusted, h); err != nil {
		return err
	}
	if h.Height-1 != trusted.Height {
		return notConnected("height %d does not adjoin the trusted height %d", h.Height, trusted.Height)
	}
	return nil
}

// VerifySkipping reports whether h is a later header of the chain of trusted,
// without the headers in between: it is higher and later, signed by more than two
// thirds of its own validators ([VerifyCommit]), and among those who signed are
// validators that hold more than one third of the power in trustedNext, the set
// which trusted names as the next. So one at least who signed is honest, as long as
// no more than one third of that set is not. A signature counts once, by public key.
//
// As to trusted, see [VerifyAdjacent]. The error wraps [ErrNotConnected] if h is
// sound but signed by too little of trustedNext, or not above trusted, else
// [ErrInvalid].
func VerifySkipping(trusted *Header, trustedNext Validators, h *Header, vals Validators, c *Commit, verify VerifyFunc) error {
	if trusted == nil {
		return invalid("trusted header is missing")
	}
	if err := trustedNext.Check(); err != nil {
		return err
	}
	if got := trustedNext.Hash(); got != trusted.NextValidatorsHash {
		return invalid("trusted validators have the hash %s, but the trusted header names %s", got, trusted.NextValidatorsHash)
	}
	connected, err := verifyCommit(trusted.ChainID, trustedNext, vals, h, c, verify)
	if err != nil {
		return err
	}
	if err := follows(trusted, h); err != nil {
		return err
	}
	if !connected {
		return notConnected("header %d is signed by one third or less of the validators trusted since height %d", h.Height, trusted.Height)
	}
	return nil
}

// follows reports whether h, which is sound in itself, can come after trusted.
func follows(trusted, h *Header) error {
	later := h.Time.After(trusted.Time)
	switch {
	case h.Height > trusted.Height && !later:
		return invalid("header %d is not later than the trusted header %d", h.Height, trusted.Height)
	case h.Height < trusted.Height && later:
		return invalid("header %d is later than the trusted header %d", h.Height, trusted.Height)
	case h.Height <= trusted.Height:
		return notConnected("height %d is not above the trusted height %d", h.Height, trusted.Height)
	case h.Height-1 == trusted.Height && h.ValidatorsHash != trusted.NextValidatorsHash:
		return invalid("header %d has the validators %s, but the header before it names %s", h.Height, h.ValidatorsHash, trusted.NextValidatorsHash)
	}
	return nil
}

// Expired reports whether, at now, h is too old to be trusted for any header after
// it: at least the trusting period has passed since its time. The period must be
// shorter than the time for which misbehaving validators can be held to account.
func (h *Header) Expired(period time.Duration, now time.Time) bool {
	return !h.Time.Add(period).After(now)
}

// Ahead reports whether the time of h is now plus drift, or later: more than clocks
// that differ by less than drift explain.
func (h *Header) Ahead(drift time.Duration, now time.Time) bool {
	return !h.Time.Before(now.Add(drift))
}
