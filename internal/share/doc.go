// SPDX-License-Identifier: Apache-2.0

// Package share is the gateway through which a city shares data: with other
// cities, under agreements on the chain, and with evidence that both keep.
//
// # The two sides
//
// A [Gateway] has two addresses. [Gateway.Peer] answers other gateways: as the
// provider it checks each request, takes the data from a service, a folder or the
// contents of sealed records, and signs the answer. [Gateway.Local] answers the
// city's own applications: as the consumer it signs their requests, verifies what
// comes back, and hands it on. Applications need no keys and no protocol: they
// fetch with curl.
//
//	application -> consumer's gateway -> provider's gateway -> service
//	               signs, verifies       checks, signs
//	               logs, acknowledges    logs, counts
//	                    \                   /
//	                     anchors on the chain
//
// There are no bearer tokens. A request counts because a key signed it that the
// chain names, at that moment, for the consumer of an agreement in force.
//
// # Messages
//
// Requests and answers are HTTP with signatures of RFC 9421 and digests of RFC
// 9530, in the one form that package httpsig describes. A fetch is
//
//	GET /data/CODE/path?query      CODE is the dataset's, its slashes written as "~"
//	Data-Agreement: "id"           64 hexadecimal digits
//	Content-Digest: sha-256=:…:    of the empty body
//	Signature-Input, Signature     tag "cityid-fetch", a nonce, at most 60 s to live
//
// and its answer, also a refusal (RFC 9457), has
//
//	Content-Digest: sha-256=:…:    of the body
//	Data-Receipt: :…:              an encoded [ledger.Receipt]
//	Signature-Input, Signature     tag "cityid-answer", covering both, the request and its signature
//
// The other resources are
//
//	POST /acknowledgements   an encoded [ledger.Acknowledgement]; tag "cityid-acknowledgement"
//	POST /purposes           an age file for a request that waits; tag "cityid-purpose"
//	POST /proofs             a CBOR list of hashes of entries; tag "cityid-proof"; the answer lists encoded [ledger.LeafProof]s
//	GET  /catalogue          the city's datasets, DCAT-AP as JSON-LD
//	GET  /datasets/CODE, /schemas/CODE, /policies/CODE   the exact bytes whose digests the dataset's record has
//
// The local side has, besides /fetch and /subscribe,
//
//	GET /v1/status                  how the gateway is, and whether its dashboard is public
//	GET /v1/series?...              lines of observations, see [Series]
//	GET /v1/latest?...              the latest observation of each series, see [Latest]
//	GET /v1/replay?minute=...       one minute: observations, and the fetches that brought them, see [Replay]
//	GET /v1/evidence/ENTRY          evidence of one fetch
//	GET, POST /v1/purposes/ID       the encrypted purpose of a request
//
// An open dataset is served to anybody, without a signature and without a
// receipt.
//
// # What a provider checks
//
// In this order: sizes; that a state of the chain is known which is no older than
// the agreement's staleness; the signature, by a gateway key in force of the
// agreement's consumer; that it is for this host; that its nonce is new; that the
// gateway's own key counts for the holder of the dataset. What is refused so far is
// refused without a signature. Then: the agreement is granted and in force, and
// about this dataset; the path and the parameters are allowed in their one form; the
// quotas of the day; not too many answers wait for their acknowledgement. What is
// refused now is refused under a signature and leaves a receipt, because a refusal
// may have to be shown later.
//
// The answer is spooled whole, in memory or on the disk, so that its digest is
// known; the receipt is on the disk before the first octet leaves. The consumer
// spools it too: an application gets nothing that was not verified and written
// down.
//
// # The chain
//
// A gateway believes no node: a [View] asks for the agreement and the records of
// both parties in one bundle, verifies it from a pinned trust root, and keeps it
// for as long as the agreement allows. While an agreement is in use it is asked
// for every few seconds. So a revocation takes effect within seconds, and within
// the staleness even if somebody keeps the gateway from the chain: then nothing is
// served at all. Anchoring is apart from that: receipts wait until the chain
// answers again.
//
// # Evidence
//
// [Evidence] of a fetch is checked by [CheckEvidence] without a network, for as
// long as its bundles connect to a trust root. Either side has its own; a side
// that has lost or rewrote its log can not contradict the other's anchor.
//
// What is proven is that the fetch was no later than the header which proves the
// first anchor. The receipt's own time is a claim: one after an anchor is invalid; one
// more than [AnchorDeadline] before the first is marked, and the fetch judged by the
// time of the anchor too. A fetch is judged by each state that the agreement's
// staleness allowed, and one that permits it is enough.
//
// # What is not proven
//
// That data are true. That a consumer deletes what it was given, keeps to the
// purpose, or does not pass it on: such terms are declared, and nothing enforces
// them. That the last answers arrived, unless the consumer acknowledged them.
package share

// RelGateway is the relation by which a record links to the gateway of whoever
// holds it: an address such as https://gateway.example.cn. The nearest record
// that names one counts.
const RelGateway = "gateway"
