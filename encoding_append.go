// SPDX-License-Identifier: Apache-2.0

package cityid

// What a block of allocations encodes is encoded here without reflection: the same
// octets as encMode writes, for an eighth of the time. Fields that are rare in a
// batch (policies, shared data) are left to encMode.

// appended returns the encoding of v, if it is of a type that is encoded often.
func appended(v any) ([]byte, bool) {
	switch x := v.(type) {
	case *Record:
		if x != nil {
			return x.appendCBOR(make([]byte, 0, x.sizeHint())), true
		}
	case *Alias:
		if x != nil {
			return x.appendCBOR(make([]byte, 0, 32+len(x.Scheme)+len(x.Value))), true
		}
	case *Body:
		if x != nil && x.plain() {
			return x.appendCBOR(make([]byte, 0, x.sizeHint())), true
		}
	case *Tx:
		if x != nil {
			return x.appendCBOR(make([]byte, 0, 32+len(x.Body)+80*len(x.Signatures))), true
		}
	case uint64:
		return appendHead(nil, majorUint, x), true
	}
	return nil, false
}

// Major types of CBOR (RFC 8949, section 3.1).
const (
	majorUint   = 0 << 5
	majorNegInt = 1 << 5
	majorBytes  = 2 << 5
	majorText   = 3 << 5
	majorArray  = 4 << 5
	majorMap    = 5 << 5

	cborTrue = 0xf5
)

// appendHead appends the shortest head of a major type with an argument.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= 0xff:
		return append(b, major|24, byte(n))
	case n <= 0xffff:
		return append(b, major|25, byte(n>>8), byte(n))
	case n <= 0xffffffff:
		return append(b, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, major|27, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

func appendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorNegInt, uint64(-1-n))
	}
	return appendHead(b, majorUint, uint64(n))
}

// fields appends the members of a map whose keys are small numbers, in their order,
// and then the head that counts them.
type fields struct {
	b    []byte
	head int // where the head is
	n    byte
}

// mapOf begins a map of fewer than 24 members.
func mapOf(b []byte) fields { return fields{append(b, majorMap), len(b), 0} }

func (f *fields) key(k byte) {
	f.b = append(f.b, k)
	f.n++
}

func (f *fields) text(k byte, s string) {
	f.key(k)
	f.b = appendText(f.b, s)
}

func (f *fields) textIf(k byte, s string) {
	if s != "" {
		f.text(k, s)
	}
}

func (f *fields) uint(k byte, n uint64) {
	f.key(k)
	f.b = appendHead(f.b, majorUint, n)
}

func (f *fields) int(k byte, n int64) {
	f.key(k)
	f.b = appendInt(f.b, n)
}

func (f *fields) digestIf(k byte, d *Digest) {
	if !d.IsZero() {
		f.key(k)
		f.b = appendBytes(f.b, d[:])
	}
}

// other has a value encoded by encMode.
func (f *fields) other(k byte, v any) {
	f.key(k)
	f.b = append(f.b, MustMarshal(v)...)
}

func (f *fields) content(k byte, c *Content) {
	if !c.IsZero() {
		f.key(k)
		f.b = c.appendCBOR(f.b)
	}
}

func (f *fields) aliases(k byte, list []Alias) {
	if len(list) == 0 {
		return
	}
	f.key(k)
	f.b = appendHead(f.b, majorArray, uint64(len(list)))
	for i := range list {
		f.b = list[i].appendCBOR(f.b)
	}
}

// end returns what the map was appended to, with it.
func (f *fields) end() []byte {
	f.b[f.head] |= f.n
	return f.b
}

// sizeHint is about how long the encoding will be.
func (r *Record) sizeHint() int {
	return 64 + len(r.Code.s) + len(r.Parent.s) + len(r.Changed.Chain) + contentSize(&r.Content, r.Aliases)
}

func contentSize(c *Content, aliases []Alias) int {
	n := 24
	for i := range c.Names {
		n += 5 + len(c.Names[i].Lang) + len(c.Names[i].Text)
	}
	for i := range aliases {
		n += 20 + len(aliases[i].Scheme) + len(aliases[i].Value)
	}
	return n
}

func (r *Record) appendCBOR(b []byte) []byte {
	f := mapOf(b)
	f.text(1, r.Code.s)
	f.textIf(2, r.Parent.s)
	f.uint(3, uint64(r.Kind))
	f.uint(4, uint64(r.Status))
	f.uint(5, uint64(r.Revision))
	f.digestIf(6, &r.Prev)
	f.key(7)
	f.b = appendText(append(f.b, majorArray|3), r.Changed.Chain)
	f.b = appendInt(appendHead(f.b, majorUint, r.Changed.Height), int64(r.Changed.Time))
	f.content(8, &r.Content)
	f.digestIf(9, &r.Sealed)
	f.aliases(10, r.Aliases)
	if r.Policy != nil {
		f.other(11, r.Policy)
	}
	if r.PolicySince != 0 {
		f.int(12, int64(r.PolicySince))
	}
	if r.Recovery != nil {
		f.other(13, r.Recovery)
	}
	if r.Reason != 0 {
		f.uint(14, uint64(r.Reason))
	}
	f.textIf(15, r.Note)
	f.textIf(16, r.Heir.s)
	if len(r.Successors) > 0 {
		f.other(17, r.Successors)
	}
	if r.Delegation != nil {
		f.other(18, r.Delegation)
	}
	return f.end()
}

func (c *Content) appendCBOR(b []byte) []byte {
	f := mapOf(b)
	if len(c.Names) > 0 {
		f.key(1)
		f.b = appendHead(f.b, majorArray, uint64(len(c.Names)))
		for i := range c.Names {
			f.b = appendText(append(f.b, majorArray|2), c.Names[i].Lang)
			f.b = appendText(f.b, c.Names[i].Text)
		}
	}
	if len(c.Links) > 0 {
		f.other(2, c.Links)
	}
	if len(c.Hosts) > 0 {
		f.other(3, c.Hosts)
	}
	if c.Location != nil {
		f.key(4)
		f.b = appendInt(append(f.b, majorArray|2), int64(c.Location.Lat))
		f.b = appendInt(f.b, int64(c.Location.Lon))
	}
	if len(c.Documents) > 0 {
		f.other(5, c.Documents)
	}
	if c.Dataset != nil {
		f.other(6, c.Dataset)
	}
	return f.end()
}

func (a *Alias) appendCBOR(b []byte) []byte {
	f := mapOf(b)
	f.text(1, a.Scheme)
	f.text(2, a.Value)
	if a.From != 0 {
		f.int(3, int64(a.From))
	}
	if a.Until != 0 {
		f.int(4, int64(a.Until))
	}
	return f.end()
}

func (t *Tx) appendCBOR(b []byte) []byte {
	f := mapOf(b)
	f.key(1)
	f.b = appendBytes(f.b, t.Body)
	f.key(2)
	f.b = appendHead(f.b, majorArray, uint64(len(t.Signatures)))
	for _, s := range t.Signatures {
		f.b = appendBytes(f.b, s)
	}
	return f.end()
}

// plain reports whether the body allocates codes and does nothing else.
func (b *Body) plain() bool {
	for i := range b.Operations {
		if o := &b.Operations[i]; *o != (Operation{Allocate: o.Allocate}) || o.Allocate == nil {
			return false
		}
	}
	return true
}

func (b *Body) sizeHint() int {
	n := 64 + len(b.Chain) + len(b.Memo) + 36*len(b.Signers)
	for i := range b.Operations {
		for j := range b.Operations[i].Allocate.Items {
			a := &b.Operations[i].Allocate.Items[j]
			n += 16 + len(a.Code.s) + len(a.Parent.s) + contentSize(&a.Content, a.Aliases)
		}
	}
	return n
}

// appendCBOR appends the encoding of a plain body.
func (b *Body) appendCBOR(to []byte) []byte {
	f := mapOf(to)
	f.text(1, b.Chain)
	f.key(2)
	f.b = appendHead(f.b, majorArray, uint64(len(b.Signers)))
	for _, k := range b.Signers {
		f.b = append(appendHead(f.b, majorBytes, uint64(len(k))), k...)
	}
	f.int(3, int64(b.Expires))
	f.key(4)
	f.b = appendHead(f.b, majorArray, uint64(len(b.Operations)))
	for i := range b.Operations {
		items := b.Operations[i].Allocate.Items
		f.b = append(f.b, majorMap|1, 8, majorMap|1, 1) // Operation.Allocate, Allocate.Items
		f.b = appendHead(f.b, majorArray, uint64(len(items)))
		for j := range items {
			f.b = items[j].appendCBOR(f.b)
		}
	}
	f.textIf(5, b.Memo)
	return f.end()
}

func (a *Allocation) appendCBOR(b []byte) []byte {
	f := mapOf(b)
	f.text(1, a.Code.s)
	f.textIf(2, a.Parent.s)
	f.uint(3, uint64(a.Kind))
	if a.Reserved {
		f.key(4)
		f.b = append(f.b, cborTrue)
	}
	f.content(5, &a.Content)
	f.digestIf(6, &a.Sealed)
	f.aliases(7, a.Aliases)
	if a.Policy != nil {
		f.other(8, a.Policy)
	}
	if a.Recovery != nil {
		f.other(9, a.Recovery)
	}
	return f.end()
}
