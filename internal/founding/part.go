// SPDX-License-Identifier: Apache-2.0

package founding

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"cityid"
	"cityid/keys"
)

// Part is what an owner brings to a network.
type Part struct {
	Version int `json:"version"` // 1
	PartContent
	// Node is the id by which others know the machine: it follows from NodeKey,
	// and stands there for people.
	Node       string                `json:"node"`
	Signatures []cityid.KeySignature `json:"signatures"` // in byte order of their keys
}

// PartContent is what the signatures of a part cover.
type PartContent struct {
	Chain     string           `cbor:"1,keyasint" json:"chain"`
	Owner     cityid.Code      `cbor:"2,keyasint" json:"owner"`
	Names     cityid.Names     `cbor:"3,keyasint,omitempty" json:"names"`
	Policy    cityid.Policy    `cbor:"4,keyasint" json:"policy"`    // who signs for the owner
	Validator cityid.PublicKey `cbor:"5,keyasint" json:"validator"` // ed25519; signs votes
	NodeKey   cityid.PublicKey `cbor:"6,keyasint" json:"node_key"`  // ed25519; others reach the machine by its id
	Address   string           `cbor:"7,keyasint" json:"address"`   // host:port at which other nodes reach it
}

// NodeID returns the id of a node with a key: the first 20 octets of the SHA-256
// of the bare key, in lower-case hexadecimal.
func NodeID(key cityid.PublicKey) string {
	if len(key) == 0 {
		return ""
	}
	h := sha256.Sum256([]byte(key[1:]))
	return hex.EncodeToString(h[:20])
}

// NewPart returns a part that nobody has signed yet.
func NewPart(c PartContent) *Part {
	return &Part{Version: Version, PartContent: c, Node: NodeID(c.NodeKey)}
}

// ParsePart parses a part and checks it, and the signatures it has.
func ParsePart(text []byte) (*Part, error) {
	var p Part
	if err := parse(text, MaxPart, &p); err != nil {
		return nil, fmt.Errorf("part: %w", err)
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return &p, nil
}

// Encode returns the part's file.
func (p *Part) Encode() ([]byte, error) { return encode(p) }

// Peer is where others reach the machine: id@host:port.
func (p *Part) Peer() string { return p.Node + "@" + p.Address }

// Digest is what is signed.
func (p *Part) Digest() cityid.Digest {
	return sha256.Sum256(append([]byte("cityid/part/1"), cityid.MustMarshal(&p.PartContent)...))
}

// Signers are all keys that must sign, in byte order.
func (p *Part) Signers() []cityid.PublicKey {
	out := append(p.Policy.SigningKeys(), p.Validator, p.NodeKey)
	slices.Sort(out)
	return slices.Compact(out)
}

// Missing are the keys that have not signed yet.
func (p *Part) Missing() []cityid.PublicKey {
	return slices.DeleteFunc(p.Signers(), func(k cityid.PublicKey) bool {
		return slices.ContainsFunc(p.Signatures, func(s cityid.KeySignature) bool { return s.Key == k })
	})
}

// Sign adds a signature, which must be one of those that are wanted.
func (p *Part) Sign(s cityid.Signer) error {
	if !slices.Contains(p.Signers(), s.Key) {
		return fmt.Errorf("key %s does not stand in the part", s.Key)
	}
	d := p.Digest()
	signature, err := s.Sign(d[:])
	if err != nil {
		return err
	}
	i, found := slices.BinarySearchFunc(p.Signatures, s.Key, func(x cityid.KeySignature, k cityid.PublicKey) int {
		return strings.Compare(string(x.Key), string(k))
	})
	if !found {
		p.Signatures = slices.Insert(p.Signatures, i, cityid.KeySignature{})
	}
	p.Signatures[i] = cityid.KeySignature{Key: s.Key, Signature: signature}
	return nil
}

// Check reports the first thing wrong with a part taken by itself. Signatures may
// be missing; those that are there must hold.
func (p *Part) Check() error {
	if p.Version != Version {
		return fmt.Errorf("part: version %d is unknown: this program reads version %d", p.Version, Version)
	}
	if p.Owner.IsZero() || !cityid.ValidChainID(p.Chain) {
		return errors.New("part: it must name its owner and the chain")
	}
	fail := func(err error) error { return fmt.Errorf("part of %s: %w", p.Owner, err) }
	content := cityid.Content{Names: p.Names}
	if err := content.Check(); err != nil {
		return fail(err)
	}
	if err := p.Policy.Check(); err != nil {
		return fail(err)
	}
	for _, k := range []cityid.PublicKey{p.Validator, p.NodeKey} {
		if _, err := keys.ParsePublic([]byte(k)); err != nil || k.Algorithm() != "ed25519" {
			return fail(fmt.Errorf("key %s: validator and node want ed25519 keys", k))
		}
	}
	if p.Validator == p.NodeKey {
		return fail(errors.New("validator and node must have different keys"))
	}
	for _, k := range p.Policy.SigningKeys() {
		if k == p.Validator || k == p.NodeKey {
			return fail(fmt.Errorf("key %s of the machine stands in the policy: whoever takes the machine would be an officer", k))
		}
	}
	if p.Node != NodeID(p.NodeKey) {
		return fail(fmt.Errorf("node %.40q is not the id that follows from node_key: %s", p.Node, NodeID(p.NodeKey)))
	}
	if err := CheckAddress(p.Address, true); err != nil {
		return fail(err)
	}
	want, d := p.Signers(), p.Digest()
	for i, s := range p.Signatures {
		if i > 0 && p.Signatures[i-1].Key >= s.Key {
			return fail(errors.New("signatures must be in byte order of their keys, each once"))
		}
		if !slices.Contains(want, s.Key) {
			return fail(fmt.Errorf("key %s has signed, but does not stand in the part", s.Key))
		}
		if err := keys.Verify([]byte(s.Key), d[:], s.Signature); err != nil {
			return fail(fmt.Errorf("signature by %s: %w; the part was changed after it was signed", s.Key, err))
		}
	}
	return nil
}

// CheckAddress reports why other nodes could not reach host:port. Names are in
// lower case. Loopback and private addresses are for private networks alone.
func CheckAddress(address string, private bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %.100q: want host:port, such as node.example.cn:26656", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("address %.100q: port %q: want 1 to 65535", address, port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkIP(address, ip, private)
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("address %.100q: %w", address, err)
	}
	if local := !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local"); local && !private {
		return fmt.Errorf("address %s: a name that only a local network knows; a plan with private_addresses allows it", address)
	}
	return nil
}

func checkIP(address string, ip netip.Addr, private bool) error {
	ip = ip.Unmap()
	switch {
	case ip.Zone() != "" || ip.IsLinkLocalUnicast():
		return fmt.Errorf("address %s: a link-local address, which means another machine on every network", address)
	case ip.IsUnspecified():
		return fmt.Errorf("address %s: means any address of this machine; others need one of them", address)
	case ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %s: not the address of one machine", address)
	case (ip.IsLoopback() || ip.IsPrivate()) && !private:
		return fmt.Errorf("address %s: a private address; a plan with private_addresses allows it", address)
	}
	return nil
}

func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return errors.New("the host is missing or too long")
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		ok := l != "" && len(l) <= 63 && l[0] != '-' && l[len(l)-1] != '-'
		for _, c := range []byte(l) {
			ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
		}
		if !ok {
			return fmt.Errorf("host %q: want an IP address or a name of lower-case letters, digits, hyphens and dots", host)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return fmt.Errorf("host %q is no IP address, but ends like one", host)
	}
	return nil
}
