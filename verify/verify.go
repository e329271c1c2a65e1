// SPDX-License-Identifier: Apache-2.0

// Package verify judges bundles: answers of the registry that carry their own
// proof. It needs no network, no disk and no clock; given the same trust root,
// bundle and time, everyone comes to the same verdict. What a bundle is, how it
// is judged and how one is made are all here, so that prover and checker can
// not drift apart. All functions are safe for concurrent use as long as nobody
// changes their arguments meanwhile.
//
// # What a bundle says
//
// A bundle (media type [MediaType]) gives one of six answers, five of them
// about one code, as of one header of the chain of the zone that is to be asked:
//
//	record       the record of the code, or that the code is not allocated
//	children     all codes directly below the code, with their records
//	descendants  all codes below the code, with their records
//	history      all revisions of the code's record, latest first
//	entries      what stands at some keys of the state, or that nothing does
//	referral     which zone is to be asked instead, and its last checkpoint
//
// A header at height H commits, by its app hash, to the state after block H-1.
//
// # Format
//
// A bundle is one CBOR map in core deterministic encoding (RFC 8949, section
// 4.2.1) of at most [MaxBundle] octets, read by the rules of [cityid.Unmarshal].
// In every version field 1 is the number of the version, and the map has no more
// than 23 fields: octets that begin with such a map and a number greater than 1
// are of a later version, whatever follows.
// Field numbers are the integer keys; "bytes" is a byte string.
//
//	bundle:  1 version      1
//	         2 kind         1 record, 2 children, 3 descendants, 4 history, 5 entries, 6 referral
//	         3 code         text
//	         4 trust        8 bytes: the [Tag] of the question and the trust root version from which the first step leads on
//	         5 versions     versions of the trust root after the asker's (left out if none)
//	         6 steps        one step for each zone, from the trust root's on, at most 8
//	         7 values       bytes each: encoded records, or what stands at the keys (left out if none)
//	         8 keys         bytes each, of entries only: 1 to 64 keys of the state in byte order
//	step:    1 transitions  light blocks at which the validators changed (left out if none)
//	         2 head         light block: the header which the validators' signatures prove
//	         3 log          how head's block log contains the header that answers (left out if head answers)
//	         4 proof        bytes: the answer's place in the state that the answering header commits to
//	         5 validators   bytes: the set which the checkpoint names as the next (left out if the first header is signed by it)
//	         6 descent      how head's block log goes on from the checkpoint (left out if head is the checkpoint's header, and in the first step)
//	         7 values       2 times bytes: the record of the next zone's apex, and what is known of that zone (only in a step that leads to another)
//	         8 authority    pairs [proof, value]: no zone below is the one to ask (left out if none are needed)
//	light block:
//	         1 header       bytes: stripped header of package header
//	         2 validators   bytes: validator set of package header (left out if it is the trusted next set)
//	         3 commit       bytes: minimal commit of package header
//	log:     1 header       bytes: the answering header, stripped
//	         2 validators   32 bytes: its validators hash
//	         3 first        height of the block log's leaf 0
//	         4 size         leaves of the block log
//	         5 path         bytes: RFC 6962 inclusion proof of the header's hash at leaf (height - first)
//	         6 proof        bytes: proof of the block log's leaf in the state that head commits to
//	descent: 1 first        as in log; left out, with size, if there is no block log yet or the step has a log
//	         2 size
//	         3 proof        bytes: as in log, or of the leaf's absence; empty if the step has a log
//	         4 path         bytes: RFC 6962 inclusion proof of the checkpoint's header (left out where the log does not reach it)
//	         5 root         32 bytes: root of the block log (left out unless the checkpoint is the genesis and there is a log)
//
// The values of a record or history are the latest record and, for a history,
// each earlier revision; none says that the code is not allocated. Their proof
// is a [merkle.Proof] for [cityid.RecordKey]. The values of a listing are the
// records in order of their codes; their proof is a [merkle.RangeProof] for
// [Range]. Entries are about keys for which [cityid.CodeOfEntryKey] knows the
// code; the first one's is the bundle's. There is a value for each key, of no
// octets where the state has none, and their proof is the encoding of a list of
// as many byte strings, each a [merkle.Proof].
//
// Nothing in a bundle can be computed from the rest. The app hash of the
// answering header is the root to which the proof leads; the root of the block
// log follows from the path, and the app hash of head from that; the validators
// hash follows from the validators, and these are left out where the trust root
// or the header before names them. Whatever is wrong with any of them shows as
// a signature that does not fit. Superfluous signatures, validators and
// transitions are refused.
//
// # The trust root
//
// A verifier pins a [cityid.Trust], best by comparing its hash with people it
// knows. Version 1 follows from the genesis file and names no header: it stands
// for height 0. Later versions name a header and the validators of the height
// after it. A bundle may carry the versions that come right after the asker's,
// each signed by exactly enough of the quorum of the one before; they are
// applied first. A [TrustFile] holds a pinned version and those since, and
// [TrustFile.For] finds among them the one by which to judge a bundle that was
// made for an earlier one.
//
// Trusting head rests on the trust root version T that results:
//
//   - Above T's height: the transitions, then head, each verified from the one
//     before by header.VerifySkipping, beginning with T's validators. A header
//     that names other validators as the next is followed by one of these.
//   - At T's height: head is signed by its validators and its hash is T's header.
//   - Below: head is signed by T's very validators and no older than the trusting
//     period before T.
//
// The answering header is head, or any header in head's block log. So an old
// answer stays verifiable for as long as someone adds to it a log link to a
// recent head, and a header older than the trust root connects.
//
// # Zones
//
// A step that leads to another zone has, instead of an answer, the record of
// that zone's apex and the [cityid.Zone] at its [cityid.ZoneKey]; its proof is a
// list of two. The next step leads on from the checkpoint in the latter as the
// first one does from the trust root, with two differences. Of the validators
// trusted only the hash is known. And signatures alone do not show that a header
// goes on from the checkpoint, for a zone that was restored from an old copy
// signs with the same keys: so head's block log must contain the checkpoint's
// header or, if no transaction followed that, be the checkpoint's own.
//
// A record that is there shows by itself that no zone below is the one to ask,
// since the registry keeps no records of those in a zone above. What is absent,
// what lies below a code, and what a code does rather than is, shows nothing of
// the kind. An answer of that sort proves for each of [cityid.Delegators] that no
// zone is known there, or that it does not reach so far. One proof often does for
// all (merkle.Proof.Excludes), and is then the only one.
//
// A zone that is frozen leaves the answer undecided. One whose apex is suspended
// or retired in the zone above does not: codes outlive what happens to those who
// gave them, and [Result.Zones] tells.
//
// A node of a zone makes its answer from a checkpoint alone ([Point]), and refers
// to the zones below it ([NewReferral]); who asks puts them together ([Join]).
//
// # Links
//
// A link (media type [LinkMediaType]) is a bundle without an answer: it shows
// that one header is in the block log of a recent head. [Archive] puts it in the
// place of what connected an old bundle, in its first step. Only the bundle's owner needs the
// answer for that: whoever makes the link needs the header's height alone, and
// keeps no old state. It can be done as often as one likes, each time with
// a head that the trust root of the day proves.
//
// A link is one CBOR map, under the rules for bundles, of at most [MaxLink]
// octets. Fields 3 to 6 are those of a bundle and of its step:
//
//	link:    1 version      1
//	         2 trust        32 bytes: the hash of the trust root version from which the step leads on
//	         3 versions     (left out if none; else trust is the last one's hash)
//	         4 transitions  (left out if none)
//	         5 head
//	         6 log          its header is the one linked to
//	         7 state        32 bytes: that header's app hash, which in a bundle follows from the answer
//
// # Verdicts
//
// A contradiction is [Invalid]. What is consistent but not connected to the
// trust root, too old, or outside what the zone can tell, is [Undecided].
// Everything else is [Valid]. Invalid wins. A stranger's chain of the same name,
// signed by its own validators, contradicts nothing: it is not connected, hence
// undecided, as it would be if its validators were the chain's later ones.
//
// # Time
//
// The answer is wanted for the time [Options.At], or for now. It counts as known
//
//   - from the answering header's time on, for [Options.MaxAge];
//   - before that time, for as long as nothing in the answer had changed: codes
//     are never deleted, so what is absent was absent always, and a record was in
//     force since its change. A history tells for itself.
//
// The trusting period binds T to the time wanted and to head: neither may be
// later than T by more than the period. With At, the verdict is therefore the
// one that a verifier would have given then; whoever can not rule out that the
// validators' keys of that time have been stolen since should ask for a bundle
// with a log link and judge it with a recent trust root. A header ahead of now,
// by the clock's drift or more, is undecided.
//
// Times of records are whole seconds, cut off; those of headers are exact.
//
// # Example
//
//	trust, err := verify.ParseTrustFile(file)
//	...
//	r := verify.CheckEncoded(trust.Latest(), data, verify.Options{Now: time.Now(), Code: code, Kind: cityid.AnswerRecord})
//	fmt.Println(r.Verdict, r.Message)
//
// The vectors in testdata/vectors hold good and bad bundles with their verdicts.
package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"cityid"
	"cityid/header"
	"cityid/merkle"
)

// Defaults of [Options].
const (
	DefaultMaxAge         = time.Hour
	DefaultMaxAgeParents  = 24 * time.Hour
	DefaultClockDrift     = 20 * time.Second // two heartbeats
	DefaultTrustingPeriod = 14 * 24 * time.Hour
)

// Options say what was asked and when. The zero value of a duration stands for
// its default.
type Options struct {
	Now time.Time // of the verifier's clock; required

	// At asks for the answer as of another time than Now; zero: Now.
	At time.Time

	// Code and Kind are the question. If set, a bundle that answers another one
	// is invalid. Without them the caller has to look at the result's.
	Code cityid.Code
	Kind cityid.AnswerKind
	Keys [][]byte // of entries; none: any

	MaxAge         time.Duration // how old the last zone's header may be
	MaxAgeParents  time.Duration // how old the headers of the zones above it may be
	ClockDrift     time.Duration // how far ahead of Now a header may be
	TrustingPeriod time.Duration // how long a version of the trust root suffices
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		to *time.Duration
		as time.Duration
	}{
		{&o.MaxAge, DefaultMaxAge}, {&o.MaxAgeParents, DefaultMaxAgeParents},
		{&o.ClockDrift, DefaultClockDrift}, {&o.TrustingPeriod, DefaultTrustingPeriod},
	} {
		if *d.to == 0 {
			*d.to = d.as
		}
	}
	return o
}

// CheckEncoded is [Check] for an encoded bundle. Bytes that are not a bundle
// are [Invalid].
func CheckEncoded(trust *cityid.Trust, data []byte, opts Options) Result {
	b, err := Decode(data)
	if err != nil {
		c := checker{opts: opts.withDefaults(), b: &Bundle{}}
		c.report(stepForm, refuse(err))
		return c.finish()
	}
	return Check(trust, b, opts)
}

// Check judges a bundle by a trust root that the caller relies on. It does not
// change its arguments.
func Check(trust *cityid.Trust, b *Bundle, opts Options) Result {
	c := checker{opts: opts.withDefaults(), b: b, base: trust}
	c.run()
	return c.finish()
}

// checker is one judgement in progress.
type checker struct {
	opts Options
	b    *Bundle
	base *cityid.Trust     // in the end, the version that decides
	vals header.Validators // of base

	step    *Step  // at hand
	from    anchor // what the step leads on from
	number  int    // of the step
	root    header.Hash
	header  *header.Header // which answers, or names the next zone
	head    *header.Header // which the signatures prove
	next    *delegated     // the zone that the step leads to
	logRoot cityid.Digest  // of head's block log, where a log link shows it
	res     Result
}

// check is one check. Without those that must come out valid, the following
// have nothing to go on.
type check struct {
	name string
	do   func(*checker) (string, *finding)
	must bool
}

// run makes one check after the other, until one finds a contradiction or the
// next one has nothing to go on.
func (c *checker) run() {
	first := []check{{stepForm, (*checker).checkForm, true}, {stepTrust, (*checker).checkTrust, false}}
	if c.from.point != nil {
		first = first[:1]
	}
	if !c.each(first) {
		return
	}
	for i := range c.b.Steps {
		if c.number, c.step = i, &c.b.Steps[i]; i == 0 {
			c.start()
		}
		proof := check{stepProof, (*checker).checkAnswer, true}
		if c.b.leads(i) {
			proof = check{stepDelegation, (*checker).checkDelegation, true}
		}
		list := []check{proof}
		if i == 0 {
			list = append(list, check{stepTag, (*checker).checkTag, true})
		}
		if !c.b.leads(i) {
			list = append(list, check{stepAuthority, (*checker).checkAuthority, false})
		}
		list = append(list, check{stepHeader, (*checker).readHeaders, true}, check{stepSignatures, (*checker).checkConnection, false})
		if c.from.point != nil && !c.from.light {
			list = append(list, check{stepDescent, (*checker).checkDescent, false})
		}
		list = append(list,
			check{stepRecords, (*checker).checkRecords, false}, check{stepZone, (*checker).checkZone, false},
			check{stepClock, (*checker).checkClock, false}, check{stepPeriod, (*checker).checkPeriod, false},
			check{stepFresh, (*checker).checkFreshness, false})
		if !c.each(list) {
			return
		}
		if c.b.leads(i) {
			c.enter()
		}
	}
	if c.res.Reason == "" {
		c.res.Verdict = Valid
	}
}

// each makes checks in order and reports whether there is more to check.
func (c *checker) each(list []check) bool {
	for _, s := range list {
		detail, f := s.do(c)
		if f == nil {
			f = &finding{Valid, "", detail}
		}
		c.report(s.name, f)
		if f.verdict == Invalid || s.must && f.verdict != Valid {
			return false
		}
	}
	return true
}

// Names of the checks, as they stand in [Result.Checks].
const (
	stepForm       = "form"
	stepTrust      = "trust root"
	stepProof      = "proof"
	stepDelegation = "delegation"
	stepDescent    = "descent"
	stepAuthority  = "authority"
	stepTag        = "trust root version"
	stepHeader     = "headers"
	stepSignatures = "signatures"
	stepRecords    = "records"
	stepZone       = "zone"
	stepClock      = "clock"
	stepPeriod     = "trusting period"
	stepFresh      = "freshness"
)

// checkForm checks that the bundle is within its bounds and answers what was
// asked.
func (c *checker) checkForm() (string, *finding) {
	if err := c.b.check(); err != nil {
		return "", refuse(err)
	}
	if first := &c.b.Steps[0]; c.from.point == nil && (len(first.Validators) > 0 || first.Descent != nil) {
		return "", invalid(ReasonMalformed, "the bundle leads on from a checkpoint that nothing in it shows: it belongs behind a referral")
	}
	if !c.opts.Code.IsZero() && c.opts.Code != c.b.Code || c.opts.Kind != 0 && c.opts.Kind != c.b.Kind {
		return "", invalid(ReasonQuestion, "the bundle answers for the %s of %s, which was not asked", c.b.Kind, c.b.Code)
	}
	if len(c.opts.Keys) > 0 && !slices.EqualFunc(c.opts.Keys, c.b.Keys, func(a []byte, b cityid.Bytes) bool { return bytes.Equal(a, b) }) {
		return "", invalid(ReasonQuestion, "the bundle answers about other keys than those asked for")
	}
	return "canonical encoding, the " + c.b.Kind.String() + " of " + c.b.Code.String(), nil
}

// refuse turns an error of decoding into a finding.
func refuse(err error) *finding {
	if errors.Is(err, ErrUnsupported) {
		return undecided(ReasonUnsupported, "%v", err)
	}
	return invalid(ReasonMalformed, "%v", err)
}

// checkTag checks that the step leads on from the trust root that decides. With
// none that does, there are no validators to judge the headers by.
func (c *checker) checkTag() (string, *finding) {
	if p := c.from.point; p != nil {
		if want := c.b.tag(tagBase(c.from.chain, p.Height, p.Header)); c.b.Trust != want {
			return "", undecided(ReasonOtherTrust, "the bundle leads on from another header (tag %s) than %s (tag %s): ask for one that leads on from that", c.b.Trust, c.from.name(), want)
		}
		return c.from.name(), nil
	}
	if c.vals == nil {
		return "", undecided(ReasonOtherTrust, "the step leads on from a version of the trust root that is not connected to yours")
	}
	if want := c.b.tag(c.base.Statement.Hash()); c.b.Trust != want {
		return "", undecided(ReasonOtherTrust, "the bundle was made for another trust root (tag %s) than version %d of %s (tag %s): ask for one that leads on from yours", c.b.Trust, c.base.Statement.Version, c.base.Statement.Zone, want)
	}
	return "version " + number(c.base.Statement.Version) + " of " + c.base.Statement.Zone.String(), nil
}

// Range returns the range of the state tree that a listing of the given kind
// opens: the records strictly below the code and, for children, none below
// another one listed. It is meant for prover and checker alike.
func Range(code cityid.Code, kind cityid.AnswerKind) merkle.Range {
	lo, hi := code.DescendantRange()
	return merkle.Range{
		Lo: cityid.RecordPrefix(lo), Hi: cityid.RecordPrefix(hi),
		Shallow: kind == cityid.AnswerChildren,
	}
}

// Tag ties a bundle to the version of the trust root from which it leads on, and
// to the question it answers: the first eight octets of SHA-256 of
// "cityid/bundle/1", the hash of the version's statement, the kind as one octet,
// and the code; for entries, instead of the code, each key after its length as
// one octet. It proves nothing. It finds the right version, and keeps a
// change of kind or code from turning one true answer into another: that a code
// is not allocated is as true of its neighbours.
type Tag [8]byte

// TagOf returns the tag of a bundle that answers what kind says for code, or for
// keys.
func TagOf(t *cityid.Trust, kind cityid.AnswerKind, code cityid.Code, keys ...cityid.Bytes) Tag {
	return (&Bundle{Kind: kind, Code: code, Keys: keys}).tag(t.Statement.Hash())
}

// tag returns the bundle's tag for the hash of what it leads on from.
func (b *Bundle) tag(statement cityid.Digest) Tag {
	m := append([]byte("cityid/bundle/1"), statement[:]...)
	m = append(m, byte(b.Kind))
	if b.Kind != cityid.AnswerEntries {
		m = append(m, b.Code.String()...)
	}
	for _, k := range b.Keys {
		m = append(append(m, byte(len(k))), k...)
	}
	d := sha256.Sum256(m)
	return Tag(d[:8])
}
