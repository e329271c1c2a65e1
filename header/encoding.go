// SPDX-License-Identifier: Apache-2.0

package header

import (
	"encoding/binary"
	"math"
	"time"
)

// The flags of an encoded header.
const (
	flagAppHash = 1 << iota
	flagFull
	flagLastBlock
	flagData
	flagResults
	flagEvidence
	flagsEnd
)

// EncodeStripped returns the compact encoding of h for a verifier who knows the
// chain id and the validators; the app hash is included if the verifier cannot
// compute it either, which is so when h serves no state proof. The fields left out
// need not be set. The error wraps [ErrInvalid]: h does not pass [Header.Check].
func EncodeStripped(h *Header, withAppHash bool) ([]byte, error) {
	if err := h.checkStripped(); err != nil {
		return nil, err
	}
	if !withAppHash {
		return appendHeader(nil, h, 0), nil
	}
	if h.AppHash.IsZero() {
		return nil, invalid("header has no app hash")
	}
	return appendHeader(nil, h, flagAppHash), nil
}

// DecodeStripped returns the header that [EncodeStripped] encoded. Its ChainID and
// ValidatorsHash are empty, for the caller to fill in; AppHash is as well, unless
// the encoding includes it, in which case it is not zero. The error wraps
// [ErrInvalid].
func DecodeStripped(b []byte) (*Header, error) {
	h, flags, err := decodeHeader(b)
	if err != nil {
		return nil, err
	}
	if flags&flagFull != 0 {
		return nil, invalid("encoded header is not stripped")
	}
	return h, nil
}

// AppendBinary appends the compact encoding of h, with all fields, to b. The error
// is that of [Header.Check].
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	return appendHeader(b, &h, flagAppHash|flagFull), nil
}

// MarshalBinary returns what [Header.AppendBinary] appends.
func (h Header) MarshalBinary() ([]byte, error) { return h.AppendBinary(nil) }

// UnmarshalBinary sets h to the header whose compact encoding, with all fields, is
// b, and which passes [Header.Check]. The error wraps [ErrInvalid]; h is then
// unchanged.
func (h *Header) UnmarshalBinary(b []byte) error {
	dec, flags, err := decodeHeader(b)
	if err != nil {
		return err
	}
	if flags&flagFull == 0 {
		return invalid("encoded header is stripped")
	}
	*h = *dec
	return nil
}

func appendHeader(b []byte, h *Header, flags byte) []byte {
	if h.LastBlockID != (BlockID{}) {
		flags |= flagLastBlock
	}
	if h.DataHash != emptyHash {
		flags |= flagData
	}
	if h.LastResultsHash != emptyHash {
		flags |= flagResults
	}
	if h.EvidenceHash != emptyHash {
		flags |= flagEvidence
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, h.Version.App)
	b = binary.AppendUvarint(b, uint64(h.Height))
	b = appendTime(b, h.Time)
	if flags&flagLastBlock != 0 {
		b = append(b, h.LastBlockID.Hash[:]...)
		b = binary.AppendUvarint(b, uint64(h.LastBlockID.PartsTotal))
		b = append(b, h.LastBlockID.PartsHash[:]...)
	}
	b = append(b, h.LastCommitHash[:]...)
	b = appendHash(b, h.DataHash, flags&flagData)
	b = append(b, h.NextValidatorsHash[:]...)
	b = append(b, h.ConsensusHash[:]...)
	b = appendHash(b, h.LastResultsHash, flags&flagResults)
	b = appendHash(b, h.EvidenceHash, flags&flagEvidence)
	b = append(b, h.ProposerAddress[:]...)
	b = appendHash(b, h.AppHash, flags&flagAppHash)
	if flags&flagFull != 0 {
		b = binary.AppendUvarint(b, uint64(len(h.ChainID)))
		b = append(b, h.ChainID...)
		b = append(b, h.ValidatorsHash[:]...)
	}
	return b
}

func decodeHeader(b []byte) (*Header, byte, error) {
	r := reader{rest: b}
	flags := r.byte()
	if flags >= flagsEnd {
		r.fail("unknown flags 0x%02x", flags)
	}
	h := &Header{Version: Version{Block: BlockProtocol}}
	h.Version.App = r.uvarint(math.MaxUint64)
	h.Height = int64(r.uvarint(math.MaxInt64))
	h.Time = r.time()
	if flags&flagLastBlock != 0 {
		h.LastBlockID.Hash = r.hash()
		h.LastBlockID.PartsTotal = uint32(r.uvarint(MaxParts))
		h.LastBlockID.PartsHash = r.hash()
		if h.LastBlockID == (BlockID{}) {
			r.fail("last block id is zero")
		}
	}
	h.LastCommitHash = r.hash()
	h.DataHash = r.hashOrEmpty(flags & flagData)
	h.NextValidatorsHash = r.hash()
	h.ConsensusHash = r.hash()
	h.LastResultsHash = r.hashOrEmpty(flags & flagResults)
	h.EvidenceHash = r.hashOrEmpty(flags & flagEvidence)
	r.bytes(h.ProposerAddress[:])
	if flags&flagAppHash != 0 {
		h.AppHash = r.hash()
		if h.AppHash.IsZero() {
			r.fail("app hash is zero")
		}
	}
	if flags&flagFull != 0 {
		id := make([]byte, r.uvarint(MaxChainID))
		r.bytes(id)
		h.ChainID = string(id)
		h.ValidatorsHash = r.hash()
	}
	if err := r.close("header"); err != nil {
		return nil, 0, err
	}
	if flags&flagFull != 0 {
		return h, flags, h.Check()
	}
	return h, flags, h.checkStripped()
}

// AppendBinary appends the compact encoding of c to b. The error is that of
// [Commit.Check].
func (c Commit) AppendBinary(b []byte) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	b = binary.AppendUvarint(b, uint64(c.Round))
	b = binary.AppendUvarint(b, uint64(c.PartsTotal))
	b = append(b, c.PartsHash[:]...)
	b = binary.AppendUvarint(b, uint64(len(c.Votes)))
	var next uint
	for _, v := range c.Votes {
		b = binary.AppendUvarint(b, uint64(v.Index-next))
		b = appendTime(b, v.Time)
		b = append(b, v.Signature[:]...)
		next = v.Index + 1
	}
	return b, nil
}

// MarshalBinary returns what [Commit.AppendBinary] appends.
func (c Commit) MarshalBinary() ([]byte, error) { return c.AppendBinary(nil) }

// UnmarshalBinary sets c to the commit whose compact encoding is b, and which passes
// [Commit.Check]. The error wraps [ErrInvalid]; c is then unchanged.
func (c *Commit) UnmarshalBinary(b []byte) error {
	r := reader{rest: b}
	var dec Commit
	dec.Round = int32(r.uvarint(math.MaxInt32))
	dec.PartsTotal = uint32(r.uvarint(MaxParts))
	dec.PartsHash = r.hash()
	dec.Votes = make([]Vote, r.uvarint(MaxValidators))
	var next uint
	for i := range dec.Votes {
		v := &dec.Votes[i]
		v.Index = next + uint(r.uvarint(MaxValidators))
		v.Time = r.time()
		r.bytes(v.Signature[:])
		next = v.Index + 1
	}
	if err := r.close("commit"); err != nil {
		return err
	}
	if err := dec.Check(); err != nil {
		return err
	}
	*c = dec
	return nil
}

// AppendBinary appends the compact encoding of v to b. The error is that of
// [Validators.Check].
func (v Validators) AppendBinary(b []byte) ([]byte, error) {
	if err := v.Check(); err != nil {
		return nil, err
	}
	b = binary.AppendUvarint(b, uint64(len(v)))
	for _, val := range v {
		b = append(b, val.PublicKey[:]...)
		b = binary.AppendUvarint(b, uint64(val.Power))
	}
	return b, nil
}

// MarshalBinary returns what [Validators.AppendBinary] appends.
func (v Validators) MarshalBinary() ([]byte, error) { return v.AppendBinary(nil) }

// UnmarshalBinary sets v to the validators whose compact encoding is b, and which
// pass [Validators.Check]. The error wraps [ErrInvalid]; v is then unchanged.
func (v *Validators) UnmarshalBinary(b []byte) error {
	r := reader{rest: b}
	dec := make(Validators, r.uvarint(MaxValidators))
	for i := range dec {
		r.bytes(dec[i].PublicKey[:])
		dec[i].Power = int64(r.uvarint(uint64(MaxTotalPower)))
	}
	if err := r.close("validator set"); err != nil {
		return err
	}
	if err := dec.Check(); err != nil {
		return err
	}
	*v = dec
	return nil
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

// appendHash appends h if the flag is set.
func appendHash(b []byte, h Hash, flag byte) []byte {
	if flag == 0 {
		return b
	}
	return append(b, h[:]...)
}

// reader reads an encoding from its start. After a failure it returns zeros, so that
// a decoder asks for the error once, at the end.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = invalid(format, args...)
	}
	r.rest = nil
}

// close returns the first failure; bytes that are left over are one.
func (r *reader) close(what string) error {
	if len(r.rest) > 0 {
		r.fail("%d bytes follow the encoded %s", len(r.rest), what)
	}
	return r.err
}

func (r *reader) bytes(dst []byte) {
	if len(r.rest) < len(dst) {
		r.fail("encoding is cut short")
		return
	}
	r.rest = r.rest[copy(dst, r.rest):]
}

func (r *reader) byte() byte {
	var b [1]byte
	r.bytes(b[:])
	return b[0]
}

// uvarint reads a number in its shortest form that is at most limit.
func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail("number is cut short or exceeds 64 bits")
		return 0
	case n > 1 && r.rest[n-1] == 0:
		r.fail("number is not in its shortest form")
		return 0
	case v > limit:
		r.fail("number %d exceeds the limit of %d", v, limit)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// time reads a time whose range the caller checks.
func (r *reader) time() time.Time {
	zigzag := r.uvarint(math.MaxUint64)
	seconds := int64(zigzag>>1) ^ -int64(zigzag&1)
	var b [4]byte
	r.bytes(b[:])
	nanos := binary.BigEndian.Uint32(b[:])
	if nanos >= 1e9 || seconds < minSeconds || seconds > maxSeconds {
		r.fail("time of %d s and %d ns is out of range", seconds, nanos)
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func (r *reader) hash() Hash {
	var h Hash
	r.bytes(h[:])
	return h
}

// hashOrEmpty reads a hash if the flag is set; it is then not that of the empty list.
func (r *reader) hashOrEmpty(flag byte) Hash {
	if flag == 0 {
		return emptyHash
	}
	h := r.hash()
	if h == emptyHash {
		r.fail("hash of the empty list is written out")
	}
	return h
}
