// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"cityid/keys"
)

// Sizes of what is remembered between checking a transaction and carrying it
// out.
const (
	verifiedSignatures = 1 << 17 // about 12 MB
	expandedKeys       = 1 << 10 // about 1.5 MB
)

// verifyCache verifies signatures once. It remembers the hash of (public key,
// message, signature) of the latest signatures that were good, and nothing
// else: whether a key may do something is read again from the state each time.
// Since a signature is good or not for ever, forgetting one costs time only,
// and nodes that remember different ones agree. It is safe for concurrent use.
type verifyCache struct {
	keys *keys.Verifier
	size int // how many are remembered

	mu   sync.Mutex
	ring [][sha256.Size]byte // in the order added; it grows to size
	next int                 // the oldest, where the next one goes once it is full
	good map[[sha256.Size]byte]struct{}
}

func newVerifyCache(size int) *verifyCache {
	return &verifyCache{
		keys: keys.NewVerifier(expandedKeys),
		size: size,
		good: make(map[[sha256.Size]byte]struct{}),
	}
}

// signatureHash is what the cache holds of a signature. Keys and messages are
// led by their lengths so that no two triples run together.
func signatureHash(pub, msg, sig []byte) [sha256.Size]byte {
	buf := make([]byte, 0, 512)
	buf = binary.AppendUvarint(buf, uint64(len(pub)))
	buf = append(buf, pub...)
	buf = binary.AppendUvarint(buf, uint64(len(msg)))
	buf = append(buf, msg...)
	return sha256.Sum256(append(buf, sig...))
}

func (c *verifyCache) has(h [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.good[h]
	return ok
}

func (c *verifyCache) add(h [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.good[h]; ok {
		return
	}
	c.good[h] = struct{}{}
	if len(c.ring) < c.size {
		c.ring = append(c.ring, h)
		return
	}
	delete(c.good, c.ring[c.next])
	c.ring[c.next] = h
	c.next = (c.next + 1) % c.size
}

// verify returns what keys.Verify returns.
func (c *verifyCache) verify(pub, msg, sig []byte) error {
	h := signatureHash(pub, msg, sig)
	if c.has(h) {
		return nil
	}
	if err := c.keys.Verify(pub, msg, sig); err != nil {
		return err
	}
	c.add(h)
	return nil
}

// signature is one to be verified.
type signature struct{ pub, msg, sig []byte }

// warm verifies the Ed25519 signatures among those given that are not
// remembered, in one batch, and remembers the good ones. It gives no verdict:
// verify does, and finds the good ones remembered.
func (c *verifyCache) warm(list []signature) {
	var cold []signature
	var hashes [][sha256.Size]byte
	for _, s := range list {
		if len(s.pub) == 0 || keys.Algorithm(s.pub[0]) != keys.Ed25519 {
			continue
		}
		if h := signatureHash(s.pub, s.msg, s.sig); !c.has(h) {
			cold = append(cold, s)
			hashes = append(hashes, h)
		}
	}
	if len(cold) < 2 {
		return // verify does as well
	}
	batch := c.keys.NewBatch(len(cold))
	for _, s := range cold {
		batch.Add(s.pub[1:], s.msg, s.sig)
	}
	_, each := batch.Verify()
	for i, ok := range each {
		if ok {
			c.add(hashes[i])
		}
	}
}
