// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"cityid"
	"cityid/merkle"
)

// A source can vouch for many pieces, such as files or the readings of a sensor,
// by one attestation of a batch: its digest is the root of an RFC 6962 tree over
// them. Entry i of the tree is a salt of 32 octets and the piece, so that whoever
// sees a proof for one piece can not test guesses at its neighbours. All salts of
// a batch come from one secret seed:
//
//	salt of piece i = SHA-256("cityid/batch-salt/1" || seed || i as 8 octets)
//	leaf i          = SHA-256(0x00 || salt of piece i || piece)
//
// A [BatchProof] shows that a piece is one of the batch. It holds the piece's own
// salt and not the seed. It is JSON, blanks apart exactly as [BatchProof.Encode]
// writes it:
//
//	{
//	  "version": 1,
//	  "source": "MA.156.1301.01",
//	  "root": "<64 hexadecimal digits>",
//	  "leaves": 3,
//	  "index": 0,
//	  "line": true,       (left out if false)
//	  "salt": "<64>",
//	  "path": ["<64>", "<64>"]
//	}
//
// With line, the piece is a line of text without its line feed: one at the very
// end of what is checked does not belong to it.

// BatchVersion is the version of the form of proofs.
const BatchVersion = 1

// MaxBatchProof is the greatest size of an encoded proof in octets.
const MaxBatchProof = 4096

// ErrOtherPiece says that a proof is not one of the bytes given.
var ErrOtherPiece = errors.New("these bytes are not the piece that the proof is for")

// BatchProof shows that a piece is one of a batch.
type BatchProof struct {
	Version int             `json:"version"`
	Source  cityid.Code     `json:"source"`
	Root    cityid.Digest   `json:"root"`   // the digest of the attestation
	Leaves  uint64          `json:"leaves"` // of the batch, as the attestation says
	Index   uint64          `json:"index"`  // of the piece, from 0
	Line    bool            `json:"line,omitempty"`
	Salt    cityid.Digest   `json:"salt"`
	Path    []cityid.Digest `json:"path"` // from the leaf's neighbour upwards
}

// ParseBatchProof reads a proof. Whether it is one of some piece, [BatchProof.Check]
// tells.
func ParseBatchProof(data []byte) (*BatchProof, error) {
	if len(data) > MaxBatchProof {
		return nil, fmt.Errorf("proof of %d octets: at most %d", len(data), MaxBatchProof)
	}
	p := new(BatchProof)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	var given, want bytes.Buffer
	if err := json.Compact(&given, data); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if err := json.Compact(&want, p.Encode()); err != nil || !bytes.Equal(given.Bytes(), want.Bytes()) {
		return nil, errors.New("proof: fields are repeated, out of order or not in their one form")
	}
	return p, nil
}

// check keeps a proof within its bounds.
func (p *BatchProof) check() error {
	switch {
	case p.Version != BatchVersion:
		return fmt.Errorf("proof: version %d is unknown", p.Version)
	case p.Source.IsZero() || p.Root.IsZero() || p.Salt.IsZero():
		return errors.New("proof: source, root and salt must be given")
	case p.Leaves < 1 || p.Leaves > cityid.MaxBatch || p.Index >= p.Leaves:
		return fmt.Errorf("proof: piece %d of %d: a batch has 1 to %d", p.Index, p.Leaves, cityid.MaxBatch)
	case len(p.Path) > cityid.MaxBucket:
		return fmt.Errorf("proof: a path of %d hashes: at most %d", len(p.Path), cityid.MaxBucket)
	}
	return nil
}

// Encode returns the proof in its one form, with a line feed at its end.
func (p *BatchProof) Encode() []byte {
	if p.Path == nil {
		p.Path = []cityid.Digest{}
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		panic("verify: " + err.Error()) // the type always encodes
	}
	return append(b, '\n')
}

// Check reads a piece to its end and reports whether the proof is one of it: nil,
// or an error that wraps [ErrOtherPiece] if it is not, or else that of r.
func (p *BatchProof) Check(r io.Reader) error {
	if err := p.check(); err != nil {
		return err
	}
	leaf, err := batchLeaf(p.Salt, r, p.Line)
	if err != nil {
		return err
	}
	path := make(merkle.LogProof, len(p.Path))
	for i, h := range p.Path {
		path[i] = merkle.Hash(h)
	}
	root, err := merkle.InclusionRoot(p.Index, p.Leaves, leaf, path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOtherPiece, err)
	}
	if cityid.Digest(root) != p.Root {
		return fmt.Errorf("%w: with them the batch would have the root %s, not %s", ErrOtherPiece, cityid.Digest(root), p.Root)
	}
	return nil
}

// trimmer passes on to a hash what is written, but for a line feed at the very
// end.
type trimmer struct {
	to   hash.Hash
	held bool // a line feed that may be the last octet
}

// Write implements [io.Writer].
func (t *trimmer) Write(b []byte) (int, error) {
	n := len(b)
	if n == 0 {
		return 0, nil
	}
	if t.held {
		t.to.Write([]byte{'\n'})
	}
	if t.held = b[n-1] == '\n'; t.held {
		b = b[:n-1]
	}
	t.to.Write(b)
	return n, nil
}

// BatchSalt returns the salt of a piece by the batch's seed.
func BatchSalt(seed cityid.Digest, index uint64) cityid.Digest {
	b := append([]byte("cityid/batch-salt/1"), seed[:]...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, index))
}

// BatchLeaf reads a piece to its end and returns its leaf in the tree of a batch.
// The error is that of r.
func BatchLeaf(seed cityid.Digest, index uint64, r io.Reader) (cityid.Digest, error) {
	h, err := batchLeaf(BatchSalt(seed, index), r, false)
	return cityid.Digest(h), err
}

func batchLeaf(salt cityid.Digest, r io.Reader, line bool) (merkle.Hash, error) {
	h := sha256.New()
	h.Write([]byte{0x00})
	h.Write(salt[:])
	var to io.Writer = h
	if line {
		to = &trimmer{to: h}
	}
	if _, err := io.Copy(to, r); err != nil {
		return merkle.Hash{}, err
	}
	return merkle.Hash(h.Sum(nil)), nil
}

// Batch is the tree over the leaves of a batch, for making proofs. It must not be
// changed; several goroutines may use it.
type Batch struct {
	seed   cityid.Digest
	root   cityid.Digest
	levels [][]merkle.Hash // roots of the complete subtrees, the leaves first
}

// NewBatch returns the tree over leaves, which [BatchLeaf] made with the seed in
// order. There are 1 to [cityid.MaxBatch] of them, and the seed is not zero.
func NewBatch(seed cityid.Digest, leaves []cityid.Digest) (*Batch, error) {
	if len(leaves) < 1 || len(leaves) > cityid.MaxBatch || seed.IsZero() {
		return nil, fmt.Errorf("a batch of %d pieces: want 1 to %d, and a seed", len(leaves), cityid.MaxBatch)
	}
	b := &Batch{seed: seed}
	var log merkle.Log
	for _, leaf := range leaves {
		log.Append(merkle.Hash(leaf), func(level uint8, _ uint64, h merkle.Hash) {
			if int(level) == len(b.levels) {
				b.levels = append(b.levels, nil)
			}
			b.levels[level] = append(b.levels[level], h)
		})
	}
	b.root = cityid.Digest(log.Root())
	return b, nil
}

// Root returns what an attestation of the batch has for its digest.
func (b *Batch) Root() cityid.Digest { return b.root }

// Leaves returns how many pieces there are.
func (b *Batch) Leaves() uint64 { return uint64(len(b.levels[0])) }

// Proof returns the proof of the piece at an index, which is below Leaves; line
// says that it is a line of text.
func (b *Batch) Proof(source cityid.Code, index uint64, line bool) (*BatchProof, error) {
	path, err := merkle.ProveInclusion(index, b.Leaves(), func(level uint8, index uint64) (merkle.Hash, error) {
		return b.levels[level][index], nil
	})
	if err != nil {
		return nil, err
	}
	p := &BatchProof{
		Version: BatchVersion, Source: source, Root: b.root, Leaves: b.Leaves(), Index: index, Line: line,
		Salt: BatchSalt(b.seed, index), Path: []cityid.Digest{},
	}
	for _, h := range path {
		p.Path = append(p.Path, cityid.Digest(h))
	}
	return p, p.check()
}
