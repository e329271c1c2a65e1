// SPDX-License-Identifier: Apache-2.0

package header

import (
	"encoding/binary"
	"time"
)

// Protobuf wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
)

// Each function below returns the encoding of one message, or of one field whose
// number is given; fields are concatenated in ascending order. A zero number or an
// empty string yields no bytes, as proto3 demands.

func protoUint(field byte, v uint64) []byte {
	if v == 0 {
		return nil
	}
	return binary.AppendUvarint([]byte{field<<3 | wireVarint}, v)
}

func protoFixed64(field byte, v int64) []byte {
	if v == 0 {
		return nil
	}
	return binary.LittleEndian.AppendUint64([]byte{field<<3 | wireFixed64}, uint64(v))
}

// protoBytes writes the field even when b is empty, as for an embedded message
// that is always present; no other caller has an empty b.
func protoBytes(field byte, b []byte) []byte {
	out := make([]byte, 0, 3+len(b))
	out = append(out, field<<3|wireBytes)
	out = binary.AppendUvarint(out, uint64(len(b)))
	return append(out, b...)
}

func protoString(field byte, s string) []byte {
	if s == "" {
		return nil
	}
	return protoBytes(field, []byte(s))
}

func protoVersion(v Version) []byte {
	return append(protoUint(1, v.Block), protoUint(2, v.App)...)
}

// protoTime writes seconds before 1970 as ten-byte varints, like every negative
// int64 in protobuf.
func protoTime(t time.Time) []byte {
	return append(protoUint(1, uint64(t.Unix())), protoUint(2, uint64(t.Nanosecond()))...)
}

// protoBlockID serves for BlockID and CanonicalBlockID, which have one layout.
func protoBlockID(id BlockID) []byte {
	if id == (BlockID{}) {
		return protoBytes(2, nil)
	}
	parts := append(protoUint(1, uint64(id.PartsTotal)), protoBytes(2, id.PartsHash[:])...)
	return append(protoBytes(1, id.Hash[:]), protoBytes(2, parts)...)
}

func protoValidator(v Validator) []byte {
	key := protoBytes(1, v.PublicKey[:])
	return append(protoBytes(1, key), protoUint(2, uint64(v.Power))...)
}

// precommit is the SignedMsgType of the votes in a commit.
const precommit = 2

// protoVote returns the length-prefixed CanonicalVote.
func protoVote(chainID string, height int64, round int32, id BlockID, t time.Time) []byte {
	vote := make([]byte, 0, 192)
	vote = append(vote, protoUint(1, precommit)...)
	vote = append(vote, protoFixed64(2, height)...)
	vote = append(vote, protoFixed64(3, int64(round))...)
	vote = append(vote, protoBytes(4, protoBlockID(id))...)
	vote = append(vote, protoBytes(5, protoTime(t))...)
	vote = append(vote, protoString(6, chainID)...)
	return append(binary.AppendUvarint(nil, uint64(len(vote))), vote...)
}
