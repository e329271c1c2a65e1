// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"cityid"
)

// Bounds of the formats, in octets where nothing else is said.
const (
	MaxReceipt   = 1024     // an encoded Receipt
	MaxEntry     = 1100     // an encoded Entry
	MaxBase      = 16 << 10 // a signature base
	MaxAnswer    = 1 << 40  // the body of an answer
	MaxPosition  = 1<<62 - 1
	SignatureLen = 64 // an ed25519 signature

	version = 1 // of Receipt and Acknowledgement
)

// Receipt says what happened in one fetch. The provider writes it, sends it in the
// header Data-Receipt, and covers it with the signature of the answer, which also
// covers that of the request.
type Receipt struct {
	Version   uint32        `cbor:"1,keyasint" json:"version"`                     // 1
	Agreement cityid.Digest `cbor:"2,keyasint,omitzero" json:"agreement,omitzero"` // zero: an open dataset, fetched without one
	Dataset   cityid.Code   `cbor:"3,keyasint,omitzero" json:"dataset,omitzero"`   // zero: a refusal that led to none
	Provider  cityid.Code   `cbor:"4,keyasint" json:"provider"`
	Log       string        `cbor:"5,keyasint" json:"log"`                       // of the provider: name of its gateway instance
	Number    uint64        `cbor:"6,keyasint" json:"number"`                    // in that log, from 1 without a gap
	Request   cityid.Digest `cbor:"7,keyasint,omitzero" json:"request,omitzero"` // [Message.Hash] of the request; zero: it had no signature
	Status    uint32        `cbor:"8,keyasint" json:"status"`                    // of HTTP, 200 to 599
	Size      uint64        `cbor:"9,keyasint" json:"size"`                      // octets of the body
	Content   cityid.Digest `cbor:"10,keyasint" json:"content"`                  // SHA-256 of the body, also of an empty one
	Time      cityid.Time   `cbor:"11,keyasint" json:"time"`                     // by the provider's clock
	Height    uint64        `cbor:"12,keyasint" json:"height"`                   // of the chain's state by which it was decided; 0: a refusal without one
}

// Served reports whether the receipt is for data, not for a refusal.
func (r *Receipt) Served() bool { return r.Status < 400 }

// Check returns nil if every field keeps its bounds. The error matches
// [ErrInvalid].
func (r *Receipt) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("receipt: %w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case r.Version != version:
		return bad("version %d: this program knows version %d", r.Version, version)
	case r.Provider.IsZero():
		return bad("it names no provider")
	case r.Number < 1 || r.Number > MaxPosition:
		return bad("number %d: want 1 to %d", r.Number, uint64(MaxPosition))
	case r.Status < 200 || r.Status > 599:
		return bad("status %d: want 200 to 599", r.Status)
	case r.Size > MaxAnswer:
		return bad("%d octets: an answer has at most %d", r.Size, uint64(MaxAnswer))
	case r.Content.IsZero():
		return bad("it has no digest of the body")
	case r.Time <= 0 || !r.Time.Valid():
		return bad("time %d: want a second of the years 1970 to 9999", int64(r.Time))
	case r.Height > MaxPosition:
		return bad("height %d: want at most %d", r.Height, uint64(MaxPosition))
	case r.Request.IsZero() && !r.Agreement.IsZero():
		return bad("under an agreement every request is signed, and it names none")
	case r.Served() && (r.Dataset.IsZero() || r.Height == 0):
		return bad("data was served, but it does not say of which dataset and by which state of the chain")
	}
	if err := checkLog(r.Log); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}

// checkLog checks the name of a log.
func checkLog(name string) error {
	if !cityid.ValidLogName(name) {
		return fmt.Errorf("%w: a log's name is 1 to %d of a-z, 0-9 and -, %.40q is not", ErrInvalid, cityid.MaxLogName, name)
	}
	return nil
}

// Encode returns the octets of a receipt, or why it is none.
func (r *Receipt) Encode() ([]byte, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return cityid.MustMarshal(r), nil
}

// DecodeReceipt reads exactly one receipt of at most [MaxReceipt] octets. The error
// matches [ErrInvalid].
func DecodeReceipt(b []byte) (r Receipt, err error) {
	if err := decode("receipt", b, MaxReceipt, &r); err != nil {
		return Receipt{}, err
	}
	if err := r.Check(); err != nil {
		return Receipt{}, err
	}
	return r, nil
}

// decode reads the one encoding of a value.
func decode(what string, b []byte, most int, v any) error {
	if len(b) > most {
		return fmt.Errorf("%s: %w: it has %d octets, at most %d are read", what, ErrInvalid, len(b), most)
	}
	if err := cityid.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w: %w", what, ErrInvalid, err)
	}
	return nil
}

// Message is what stands for a signed HTTP message: the signature base of RFC 9421,
// which names and covers what counts of it, and the signature over the base.
type Message struct {
	Base      cityid.Bytes `cbor:"1,keyasint" json:"base"`
	Signature cityid.Bytes `cbor:"2,keyasint" json:"signature"`
}

// Hash returns SHA-256(base || 0x00 || signature). Since a base has no octet 0x00,
// no two messages share what is hashed.
func (m Message) Hash() cityid.Digest {
	h := sha256.New()
	h.Write(m.Base)
	h.Write([]byte{0})
	h.Write(m.Signature)
	return cityid.Digest(h.Sum(nil))
}

// IsZero reports whether there is no message.
func (m Message) IsZero() bool { return len(m.Base) == 0 && len(m.Signature) == 0 }

// Check returns nil if the message keeps the bounds; it does not verify the
// signature. The error matches [ErrInvalid].
func (m Message) Check() error {
	switch {
	case len(m.Base) == 0 || len(m.Base) > MaxBase:
		return fmt.Errorf("message: %w: its signature base has %d octets, want 1 to %d", ErrInvalid, len(m.Base), MaxBase)
	case len(m.Signature) != SignatureLen:
		return fmt.Errorf("message: %w: its signature has %d octets, want %d", ErrInvalid, len(m.Signature), SignatureLen)
	case bytes.IndexByte(m.Base, 0) >= 0:
		return fmt.Errorf("message: %w: its signature base has an octet 0", ErrInvalid)
	}
	return nil
}

// Entry is what both sides log of one fetch: the receipt, and by the hash of the
// signed answer everything that the answer covers.
type Entry struct {
	Receipt  cityid.Bytes  `cbor:"1,keyasint" json:"receipt"`  // an encoded Receipt
	Response cityid.Digest `cbor:"2,keyasint" json:"response"` // [Message.Hash] of the answer
}

// EncodeEntry returns the octets of the entry for a receipt and the answer that
// carried it. The error matches [ErrInvalid].
func EncodeEntry(receipt []byte, response Message) ([]byte, error) {
	if _, err := DecodeReceipt(receipt); err != nil {
		return nil, err
	}
	if err := response.Check(); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return cityid.MustMarshal(&Entry{receipt, response.Hash()}), nil
}

// DecodeEntry reads exactly one entry of at most [MaxEntry] octets and the receipt
// in it. The error matches [ErrInvalid].
func DecodeEntry(b []byte) (e Entry, r Receipt, err error) {
	if err := decode("entry", b, MaxEntry, &e); err != nil {
		return Entry{}, Receipt{}, err
	}
	if e.Response.IsZero() {
		return Entry{}, Receipt{}, fmt.Errorf("entry: %w: it names no answer", ErrInvalid)
	}
	if r, err = DecodeReceipt(e.Receipt); err != nil {
		return Entry{}, Receipt{}, fmt.Errorf("entry: %w", err)
	}
	return e, r, nil
}

// EntryHash returns the SHA-256 of an encoded entry, by which acknowledgements name
// it.
func EntryHash(entry []byte) cityid.Digest { return sha256.Sum256(entry) }
