// SPDX-License-Identifier: Apache-2.0

package cityid

import "unicode/utf8"

// Transactions that allocate codes are decoded here without reflection and without
// copies, in one pass that accepts canonical encodings alone. It knows what batches
// hold and no more: whatever else it meets, malformed or merely rare, is left to the
// decoder that knows everything and words the errors. So all that it accepts, that
// one accepts with the same result, and nothing depends on which of them it was.

// scanTx decodes a transaction and its body, if it is one that scanBody knows. Both
// keep raw.
func scanTx(raw []byte) (*Tx, *Body, bool) {
	s := scanner{raw: raw, text: string(raw), ok: true}
	var t Tx
	s.expect(majorMap | 2)
	s.expect(1)
	n := s.head(majorBytes)
	from := s.at
	if !s.ok || n > uint64(len(raw)-s.at) {
		return nil, nil, false
	}
	s.at += int(n)
	t.Body = raw[from:s.at:s.at]
	after := s
	s.raw = raw[:s.at]
	s.at = from
	b := s.body()
	if !s.ok || s.at != len(s.raw) {
		return nil, nil, false
	}
	s = after
	s.expect(2)
	for range s.count(MaxSigners) {
		t.Signatures = append(t.Signatures, s.bytes())
	}
	if !s.ok || s.at != len(raw) {
		return nil, nil, false
	}
	return &t, b, true
}

// scanner reads one canonical encoding after the other. Once it has met what it does
// not know, ok is false and what it returns means nothing.
type scanner struct {
	raw  []byte
	text string // the same octets; texts are parts of it
	at   int
	ok   bool
}

func (s *scanner) fail() { s.ok = false }

// expect reads one octet, which must be the one given.
func (s *scanner) expect(c byte) {
	if s.at >= len(s.raw) || s.raw[s.at] != c {
		s.fail()
		return
	}
	s.at++
}

// optional reads the key of a member if it comes next.
func (s *scanner) optional(key byte, left *int) bool {
	if *left == 0 || s.at >= len(s.raw) || s.raw[s.at] != key {
		return false
	}
	*left--
	s.at++
	return s.ok
}

// head reads the shortest head of a major type and returns its argument.
func (s *scanner) head(major byte) uint64 {
	if s.at >= len(s.raw) || s.raw[s.at]&0xe0 != major {
		s.fail()
		return 0
	}
	low := s.raw[s.at] & 0x1f
	s.at++
	if low < 24 {
		return uint64(low)
	}
	size := 1 << (low - 24)
	if low > 27 || s.at+size > len(s.raw) {
		s.fail()
		return 0
	}
	var n uint64
	for _, c := range s.raw[s.at : s.at+size] {
		n = n<<8 | uint64(c)
	}
	s.at += size
	least := [...]uint64{24, 1 << 8, 1 << 16, 1 << 32}[low-24]
	if n < least {
		s.fail()
	}
	return n
}

// uint reads a number from 0 to most.
func (s *scanner) uint(most uint64) uint64 {
	n := s.head(majorUint)
	if n > most {
		s.fail()
	}
	return n
}

// int32 reads a number of either sign.
func (s *scanner) int32() int32 {
	if s.at < len(s.raw) && s.raw[s.at]&0xe0 == majorNegInt {
		n := s.head(majorNegInt)
		if n > 1<<31-1 {
			s.fail()
			return 0
		}
		return -1 - int32(n)
	}
	return int32(s.uint(1<<31 - 1))
}

// count reads the head of an array of 1 to most elements; it returns 0 if it fails.
func (s *scanner) count(most int) int { return s.counted(majorArray, most) }

// members reads the head of a map of 1 to most members.
func (s *scanner) members(most int) int { return s.counted(majorMap, most) }

func (s *scanner) counted(major byte, most int) int {
	n := s.head(major)
	if n < 1 || n > uint64(most) {
		s.fail()
	}
	if !s.ok {
		return 0
	}
	return int(n)
}

// span reads a string of a major type and returns where its octets are.
func (s *scanner) span(major byte) (from, to int) {
	n := s.head(major)
	if n > uint64(len(s.raw)-s.at) {
		s.fail()
	}
	if !s.ok {
		return 0, 0
	}
	from = s.at
	s.at += int(n)
	return from, s.at
}

func (s *scanner) bytes() []byte {
	from, to := s.span(majorBytes)
	return s.raw[from:to:to]
}

// str reads a text that is not empty.
func (s *scanner) str() string {
	from, to := s.span(majorText)
	t := s.text[from:to]
	if t == "" || !utf8.ValidString(t) {
		s.fail()
	}
	return t
}

func (s *scanner) code() Code {
	c, err := ParseCanonical(s.str())
	if err != nil {
		s.fail()
	}
	return c
}

// time reads a time after 1970.
func (s *scanner) time() Time {
	n := s.uint(1<<63 - 1)
	if n == 0 {
		s.fail()
	}
	return Time(n)
}

func (s *scanner) digest() (d Digest) {
	from, to := s.span(majorBytes)
	if to-from != len(d) {
		s.fail()
		return d
	}
	if copy(d[:], s.raw[from:to]); d.IsZero() {
		s.fail()
	}
	return d
}

// body reads a body that allocates codes and does nothing else.
func (s *scanner) body() *Body {
	var b Body
	left := s.members(5) - 4
	s.expect(1)
	b.Chain = s.str()
	s.expect(2)
	for range s.count(MaxSigners) {
		from, to := s.span(majorBytes)
		if to-from < 2 || to-from > maxPublicKey {
			s.fail()
		}
		b.Signers = append(b.Signers, PublicKey(s.raw[from:to]))
	}
	s.expect(3)
	b.Expires = s.time()
	s.expect(4)
	b.Operations = make([]Operation, s.count(MaxOperations))
	for i := range b.Operations {
		if !s.ok {
			return nil
		}
		s.expect(majorMap | 1)
		s.expect(8)
		s.expect(majorMap | 1)
		s.expect(1)
		n := s.count(MaxOperations)
		if n > len(s.raw)-s.at {
			s.fail()
			return nil
		}
		items := make([]Allocation, n)
		for j := range items {
			if s.allocation(&items[j]); !s.ok {
				return nil
			}
		}
		b.Operations[i].Allocate = &Allocate{Items: items}
	}
	if s.optional(5, &left) {
		b.Memo = s.str()
	}
	if left != 0 {
		s.fail()
	}
	return &b
}

// allocation reads an allocation without policies.
func (s *scanner) allocation(a *Allocation) {
	left := s.members(7) - 2
	s.expect(1)
	a.Code = s.code()
	if s.optional(2, &left) {
		a.Parent = s.code()
	}
	s.expect(3)
	a.Kind = Kind(s.uint(255))
	if s.optional(4, &left) {
		s.expect(cborTrue)
		a.Reserved = true
	}
	if s.optional(5, &left) {
		s.content(&a.Content)
	}
	if s.optional(6, &left) {
		a.Sealed = s.digest()
	}
	if s.optional(7, &left) {
		a.Aliases = make([]Alias, s.count(MaxAliases))
		for i := range a.Aliases {
			s.alias(&a.Aliases[i])
		}
	}
	if left != 0 {
		s.fail()
	}
}

// content reads names and a location.
func (s *scanner) content(c *Content) {
	left := s.members(2)
	if s.optional(1, &left) {
		c.Names = make(Names, s.count(MaxNames))
		for i := range c.Names {
			s.expect(majorArray | 2)
			c.Names[i].Lang, c.Names[i].Text = s.str(), s.str()
		}
	}
	if s.optional(4, &left) {
		s.expect(majorArray | 2)
		c.Location = new(Location)
		c.Location.Lat, c.Location.Lon = s.int32(), s.int32()
	}
	if left != 0 {
		s.fail()
	}
}

func (s *scanner) alias(a *Alias) {
	left := s.members(4) - 2
	s.expect(1)
	a.Scheme = s.str()
	s.expect(2)
	a.Value = s.str()
	if s.optional(3, &left) {
		a.From = s.time()
	}
	if s.optional(4, &left) {
		a.Until = s.time()
	}
	if left != 0 {
		s.fail()
	}
}
