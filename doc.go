// SPDX-License-Identifier: Apache-2.0

// Package cityid holds the vocabulary of the registry: codes, records,
// policies, operations, transactions, proposals, the distribution rule, trust
// statements, and the closed list of error codes. Every other package speaks
// in these words; this one depends on none of them.
//
// # Codes
//
// A [Code] is the permanent identifier of a city, a department or an object,
// such as MA.156.1301.01/20.010203/000123. Only [Parse] and [ParseCanonical]
// build one.
//
// # Records
//
// A [Record] is what a code resolves to. The latest revision of a record names
// the hash of the one before, so one proven revision commits to the whole
// history. Who controls a record is its [Policy]: a threshold over members, a
// member being a set of keys or another code.
//
// # Transactions
//
// All change enters as a [Tx]: a body in deterministic CBOR (RFC 8949, section
// 4.2) and exactly one signature for each signer the body lists. Signers sign
// [SigningDigest] of the body; the id is the SHA-256 of the body. A
// transaction's operations apply together or not at all.
//
// # Encoding
//
// [Marshal] and [Unmarshal] are the only way to and from bytes that are hashed,
// signed or stored. A value has exactly one encoding: Unmarshal refuses
// unknown fields, duplicate keys, indefinite lengths, tags, trailing bytes,
// and anything that would not be written back byte for byte.
//
// JSON is a view for people and programs outside; nothing hashed is JSON.
//
// # Time
//
// [Time] counts whole seconds since 1970-01-01 UTC and is always the time of a
// block, never of a machine.
//
// All types here are plain values. They may be copied, and read from several
// goroutines at once; none of them locks.
package cityid
