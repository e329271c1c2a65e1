// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"errors"
	"slices"
	"testing"
)

// trustPair is a version of a trust root and the one after it, signed by two of
// three keys.
func trustPair() (*Trust, *Trust) {
	first := sampleTrust()
	s := &first.Statement
	s.Version, s.Height, s.Header, s.Prev = 1, 0, Digest{}, Digest{}
	s.Quorum = Quorum{Threshold: 2, Members: []QuorumMember{{Keys: []PublicKey{sampleKey(1)}}, {Keys: []PublicKey{sampleKey(2)}}, {Keys: []PublicKey{sampleKey(3)}}}}
	first.Signatures = nil
	next := &Trust{Statement: *s}
	next.Statement.Version, next.Statement.Height, next.Statement.Header, next.Statement.Prev = 2, 5, Digest{1}, s.Hash()
	next.Statement.Time += 10
	for _, n := range []byte{1, 3} {
		next.Signatures = append(next.Signatures, KeySignature{Key: sampleKey(n), Signature: Bytes("good")})
	}
	return first, next
}

func TestVerifySuccessor(t *testing.T) {
	verify := func(pub, msg, sig []byte) error {
		if string(sig) != "good" {
			return errors.New("bad")
		}
		return nil
	}
	for name, c := range map[string]struct {
		change func(a, b *Trust)
		want   ErrorCode
	}{
		"sound": {func(a, b *Trust) {}, OK},
		"all three": {func(a, b *Trust) {
			b.Signatures = slices.Insert(b.Signatures, 1, KeySignature{sampleKey(2), Bytes("good")})
		}, OK},
		"one of three":           {func(a, b *Trust) { b.Signatures = b.Signatures[:1] }, ErrNotPermitted},
		"none":                   {func(a, b *Trust) { b.Signatures = nil }, ErrNotPermitted},
		"a stranger too":         {func(a, b *Trust) { b.Signatures = append(b.Signatures, KeySignature{sampleKey(9), Bytes("good")}) }, ErrNotPermitted},
		"a bad signature":        {func(a, b *Trust) { b.Signatures[1].Signature = Bytes("bad") }, ErrSignature},
		"out of order":           {func(a, b *Trust) { slices.Reverse(b.Signatures) }, ErrMalformed},
		"a signature twice":      {func(a, b *Trust) { b.Signatures[1] = b.Signatures[0] }, ErrMalformed},
		"too many":               {func(a, b *Trust) { b.Signatures = make([]KeySignature, MaxSigners+1) }, ErrTooLarge},
		"version 3":              {func(a, b *Trust) { b.Statement.Version = 3 }, ErrConflict},
		"the same version":       {func(a, b *Trust) { *b = *a }, ErrConflict},
		"another zone":           {func(a, b *Trust) { b.Statement.Zone = MustParse("MB") }, ErrConflict},
		"another chain":          {func(a, b *Trust) { b.Statement.Chain = "other" }, ErrConflict},
		"another predecessor":    {func(a, b *Trust) { b.Statement.Prev = Digest{9} }, ErrConflict},
		"older":                  {func(a, b *Trust) { b.Statement.Time = a.Statement.Time - 1 }, ErrConflict},
		"no header":              {func(a, b *Trust) { b.Statement.Header = Digest{} }, ErrInvalid},
		"no validators":          {func(a, b *Trust) { b.Statement.Validators = nil }, ErrInvalid},
		"quorum that can not be": {func(a, b *Trust) { b.Statement.Quorum.Threshold = 4 }, ErrPolicy},
	} {
		a, b := trustPair()
		c.change(a, b)
		if err := a.VerifySuccessor(b, verify); CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestTrustStatementCheck(t *testing.T) {
	if err := sampleTrust().Statement.Check(); err != nil {
		t.Error(err)
	}
	powers := func(list ...TrustPower) func(s *TrustStatement) {
		return func(s *TrustStatement) { s.Validators = list }
	}
	a, b := TrustPower{sampleKey(1), 5}, TrustPower{sampleKey(2), 5}
	if b.before(a) {
		a, b = b, a
	}
	sound := sampleTrust().Statement
	powers(TrustPower{sampleKey(4), 9}, a, b)(&sound)
	if err := sound.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(s *TrustStatement){
		"version 0":              func(s *TrustStatement) { s.Version = 0 },
		"version 1 with a past":  func(s *TrustStatement) { s.Version = 1 },
		"no zone":                func(s *TrustStatement) { s.Zone = Code{} },
		"no time":                func(s *TrustStatement) { s.Time = 0 },
		"header of height 0":     func(s *TrustStatement) { s.Height = 0 },
		"validator twice":        powers(a, a),
		"addresses out of order": powers(b, a),
		"powers out of order":    powers(a, TrustPower{sampleKey(4), 9}),
		"no power":               powers(TrustPower{sampleKey(1), 0}),
		"too much power":         powers(TrustPower{sampleKey(1), MaxPower + 1}),
		"passkey that validates": powers(TrustPower{samplePasskey(1, "a.cn"), 1}),
		"key of one octet":       powers(TrustPower{"\x01", 1}),
		"too many validators":    func(s *TrustStatement) { s.Validators = make([]TrustPower, MaxValidators+1) },
	} {
		s := sampleTrust().Statement
		change(&s)
		if err := s.Check(); CodeOf(err) != ErrInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
