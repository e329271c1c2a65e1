// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Keys of the state tree. A key is a namespace byte, its components, and 0x00;
// text components are followed by 0x00 and never contain it, binary ones have
// fixed width. docs/formats.md lists them with their values.
const (
	nsRecord      = 'r' // code -> Record, the latest revision
	nsHistory     = 'h' // code, revision -> Record, an earlier revision
	nsProposal    = 'p' // number -> Proposal
	nsContest     = 'o' // code, number -> empty: open applications for one code
	nsWaiting     = 'w' // code -> Waiting
	nsCrosswalk   = 'x' // scheme, value, code -> Alias
	nsScheme      = 's' // name -> Scheme
	nsAttestation = 'a' // code, digest -> Attestation
	nsAgreement   = 'g' // dataset, id -> Agreement
	nsConsumer    = 'u' // consumer, id -> dataset of the agreement
	nsAgreed      = 'd' // id -> dataset of the agreement
	nsRequests    = 'v' // consumer -> how many requests of it wait
	nsAnchor      = 'l' // party, log, sequence -> Anchor
	nsAnchorHead  = 'n' // party, log -> AnchorHead
	nsChildren    = 'q' // code, kind -> how many codes of the kind have this parent
	nsIntake      = 'k' // member -> how many open applications it brought
	nsTrust       = 't' // version -> Trust
	nsRecent      = 'i' // height -> ids of the transactions of a block
	nsZone        = 'z' // code -> Zone
	nsSingle      = 'c' // name -> one of the single values below
)

func textKey(ns byte, parts ...string) []byte {
	n := 2
	for _, p := range parts {
		n += len(p) + 1
	}
	k := append(make([]byte, 0, n), ns)
	for _, p := range parts {
		k = append(append(k, p...), 0)
	}
	return k
}

func numberKey(ns byte, n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{ns}, n), 0)
}

// RecordKey is the key of a code's latest record.
func RecordKey(c Code) []byte { return textKey(nsRecord, c.s) }

// RecordPrefix is the key of c's record without its final 0x00: the keys of c's
// strict descendants follow it with "." or "/".
func RecordPrefix(prefix string) []byte { return append([]byte{nsRecord}, prefix...) }

// CodeOfRecordKey returns the code whose record has the key, or false.
func CodeOfRecordKey(key []byte) (Code, bool) {
	if len(key) < 3 || key[0] != nsRecord || key[len(key)-1] != 0 {
		return Code{}, false
	}
	c, err := ParseCanonical(string(key[1 : len(key)-1]))
	return c, err == nil
}

// HistoryKey is the key of an earlier revision of a code's record.
func HistoryKey(c Code, revision uint32) []byte {
	return append(binary.BigEndian.AppendUint32(textKey(nsHistory, c.s), revision), 0)
}

// ProposalKey is the key of a proposal.
func ProposalKey(number uint64) []byte { return numberKey(nsProposal, number) }

// ContestKey is the key that marks an open application for a code. All open
// applications for c lie between ContestKey(c, 0) and ContestKey(c, 1<<64-1).
func ContestKey(c Code, number uint64) []byte {
	return append(binary.BigEndian.AppendUint64(textKey(nsContest, c.s), number), 0)
}

// NumberOfContestKey returns the proposal number in a [ContestKey].
func NumberOfContestKey(key []byte) uint64 {
	return binary.BigEndian.Uint64(key[len(key)-9 : len(key)-1])
}

// WaitingKey is the key of a code's waiting change.
func WaitingKey(c Code) []byte { return textKey(nsWaiting, c.s) }

// CrosswalkKey is the key of the entry that maps a value of a scheme to a code.
// Entries of one value share [CrosswalkPrefix].
func CrosswalkKey(scheme, value string, c Code) []byte {
	return textKey(nsCrosswalk, scheme, value, c.s)
}

// CrosswalkPrefix is what the keys of all entries of a value begin with.
func CrosswalkPrefix(scheme, value string) []byte { return textKey(nsCrosswalk, scheme, value) }

// CodeOfCrosswalkKey returns the code in a [CrosswalkKey] that begins with
// prefix.
func CodeOfCrosswalkKey(key, prefix []byte) (Code, bool) {
	if len(key) < len(prefix)+2 {
		return Code{}, false
	}
	c, err := ParseCanonical(string(key[len(prefix) : len(key)-1]))
	return c, err == nil
}

// SchemeKey is the key of a crosswalk scheme.
func SchemeKey(name string) []byte { return textKey(nsScheme, name) }

// AttestationKey is the key of a source's attestation of a digest.
func AttestationKey(source Code, d Digest) []byte {
	return append(append(textKey(nsAttestation, source.s), d[:]...), 0)
}

// AttestationRange spans the attestations of a source.
func AttestationRange(source Code) (lo, hi []byte) { return Range(textKey(nsAttestation, source.s)) }

// AgreementKey is the key of an agreement.
func AgreementKey(dataset Code, id Digest) []byte {
	return append(append(textKey(nsAgreement, dataset.s), id[:]...), 0)
}

// ConsumerKey is the key that finds an agreement by its consumer.
func ConsumerKey(consumer Code, id Digest) []byte {
	return append(append(textKey(nsConsumer, consumer.s), id[:]...), 0)
}

// AgreedKey is the key that finds an agreement by its id.
func AgreedKey(id Digest) []byte { return append(append([]byte{nsAgreed}, id[:]...), 0) }

// RequestsKey is the key that counts a consumer's requests that wait.
func RequestsKey(consumer Code) []byte { return textKey(nsRequests, consumer.s) }

// AgreementRanges span the agreements about a dataset, or with deep about any
// at or below the code: those of the code itself, then those of its descendants.
func AgreementRanges(dataset Code, deep bool) [][2][]byte {
	return codeRanges(nsAgreement, dataset, deep)
}

// ConsumerRanges span the keys that find the agreements of a consumer, or with
// deep of any at or below the code.
func ConsumerRanges(consumer Code, deep bool) [][2][]byte {
	return codeRanges(nsConsumer, consumer, deep)
}

func codeRanges(ns byte, c Code, deep bool) [][2][]byte {
	lo, hi := Range(textKey(ns, c.s))
	out := [][2][]byte{{lo, hi}}
	if deep {
		lo, hi := c.DescendantRange()
		out = append(out, [2][]byte{append([]byte{ns}, lo...), append([]byte{ns}, hi...)})
	}
	return out
}

// AnchorKey is the key of an anchor.
func AnchorKey(party Code, log string, sequence uint64) []byte {
	return append(binary.BigEndian.AppendUint64(textKey(nsAnchor, party.s, log), sequence), 0)
}

// AnchorRange spans the anchors of one log.
func AnchorRange(party Code, log string) (lo, hi []byte) {
	return Range(textKey(nsAnchor, party.s, log))
}

// AnchorHeadKey is the key of the last anchor of a log.
func AnchorHeadKey(party Code, log string) []byte { return textKey(nsAnchorHead, party.s, log) }

// AnchorHeadRange spans the logs of a party.
func AnchorHeadRange(party Code) (lo, hi []byte) { return Range(textKey(nsAnchorHead, party.s)) }

// CodeOfEntryKey returns the code that a state key is about, for the keys whose
// values a bundle may carry: records and their history, attestations,
// agreements, anchors and delegated zones. It is false for any other key, and for one that is
// malformed.
func CodeOfEntryKey(key []byte) (Code, bool) {
	if len(key) < 3 || len(key) > 255 || key[len(key)-1] != 0 || !strings.ContainsRune("rhaglz", rune(key[0])) {
		return Code{}, false
	}
	text, rest, ok := bytes.Cut(key[1:], []byte{0})
	if !ok {
		return Code{}, false
	}
	c, err := ParseCanonical(string(text))
	if err != nil {
		return Code{}, false
	}
	switch key[0] {
	case nsRecord, nsZone:
		ok = len(rest) == 0
	case nsHistory:
		ok = len(rest) == 4+1
	case nsAttestation, nsAgreement:
		ok = len(rest) == 32+1
	case nsAnchor:
		log, number, cut := bytes.Cut(rest, []byte{0})
		ok = cut && ValidLogName(string(log)) && len(number) == 8+1
	}
	return c, ok
}

// ZoneKey is the key of what is known of a delegated zone.
func ZoneKey(c Code) []byte { return textKey(nsZone, c.s) }

// ZoneRange spans the delegated zones.
func ZoneRange() (lo, hi []byte) { return Range([]byte{nsZone}) }

// CodeOfZoneKey returns the code whose zone has the key, or false.
func CodeOfZoneKey(key []byte) (Code, bool) {
	if len(key) < 3 || key[0] != nsZone || key[len(key)-1] != 0 {
		return Code{}, false
	}
	c, err := ParseCanonical(string(key[1 : len(key)-1]))
	return c, err == nil
}

// ChildrenKey is the key that counts the children of a kind.
func ChildrenKey(c Code, k Kind) []byte { return append(textKey(nsChildren, c.s), byte(k), 0) }

// IntakeKey is the key that counts a member's open applications. The member is
// the hash of its code, or of its first key.
func IntakeKey(member Digest) []byte { return append(append([]byte{nsIntake}, member[:]...), 0) }

// TrustKey is the key of a version of the trust root.
func TrustKey(version uint32) []byte { return numberKey(nsTrust, uint64(version)) }

// RecentKey is the key of the transaction ids of a block.
func RecentKey(height uint64) []byte { return numberKey(nsRecent, height) }

// Keys of single values.
var (
	ParamsKey     = textKey(nsSingle, "params")     // Params
	RuleKey       = textKey(nsSingle, "rule")       // Rule
	ValidatorsKey = textKey(nsSingle, "validators") // ValidatorSet
	CountersKey   = textKey(nsSingle, "counters")   // Counters
	BlockLogKey   = textKey(nsSingle, "log")        // BlockLog
	ApexKey       = textKey(nsSingle, "apex")       // Code of the zone's apex, as CBOR text
	UpstreamKey   = textKey(nsSingle, "upstream")   // Upstream
)

// Range returns the keys from the first to the last of a namespace that begin
// with prefix: lo <= key < hi.
func Range(prefix []byte) (lo, hi []byte) {
	hi = append([]byte(nil), prefix...)
	for i := len(hi) - 1; i >= 0; i-- {
		if hi[i] < 0xff {
			hi[i]++
			return prefix, hi[:i+1]
		}
	}
	return prefix, nil
}

// SchemeRange spans the crosswalk schemes.
func SchemeRange() (lo, hi []byte) { return Range([]byte{nsScheme}) }

// TrustRange spans the versions of the trust root.
func TrustRange() (lo, hi []byte) { return Range([]byte{nsTrust}) }

// RecentRange spans the transaction ids still remembered.
func RecentRange() (lo, hi []byte) { return Range([]byte{nsRecent}) }

// RecordRange spans all records.
func RecordRange() (lo, hi []byte) { return Range([]byte{nsRecord}) }

// Counters are running numbers.
type Counters struct {
	Proposals    uint64 `cbor:"1,keyasint"` // number of the last proposal
	Trust        uint32 `cbor:"2,keyasint"` // latest version of the trust root
	Applications uint64 `cbor:"3,keyasint"` // applications not yet decided
}

// ValidatorSet is the validator set as decided, which takes effect two blocks
// after the change.
type ValidatorSet struct {
	Revision   uint32      `cbor:"1,keyasint" json:"revision"`
	Validators []Validator `cbor:"2,keyasint" json:"validators"` // in byte order of their keys
	Changed    uint64      `cbor:"3,keyasint" json:"changed"`    // height of the change
}

// BlockLog commits to the hashes of all blocks up to a height: the root of an
// RFC 6962 Merkle tree whose leaf i is the hash of the block at height First+i.
type BlockLog struct {
	First uint64 `cbor:"1,keyasint" json:"first"` // height of leaf 0
	Size  uint64 `cbor:"2,keyasint" json:"size"`
	Root  Digest `cbor:"3,keyasint" json:"root"`
}

// Recent remembers the transactions of one block, so that none is recorded
// twice before it has expired.
type Recent struct {
	Expires Time     `cbor:"1,keyasint"` // when the last of them expires
	IDs     []Digest `cbor:"2,keyasint"`
}
