// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"cityid"
)

// Harvested is a dataset as a catalogue shows it.
type Harvested struct {
	Dataset  *Dataset
	Document []byte        // its published bytes; the receiver owns them
	Digest   cityid.Digest // of Document
}

// ReadCatalogue reads a catalogue as [Catalogue.Encode] writes it, in any
// layout, and calls visit for each dataset as it comes; an error of visit ends
// the reading and is returned. Beside what visit keeps, memory holds one dataset
// and the records. The records are those of exactly the datasets visited, with
// the same digests; what they say about a chain proves nothing and remains to be
// checked. Reading ends with an error at anything unknown, repeated, trailing or
// beyond [MaxDatasets], [MaxDocument] and [MaxCatalogue].
func ReadCatalogue(r io.Reader, visit func(Harvested) error) (*Catalogue, error) {
	in := &counted{r: bufio.NewReaderSize(r, 1<<16)}
	h := &harvest{d: json.NewDecoder(in), visit: visit, digests: map[Ref]cityid.Digest{}, members: map[string]bool{}}
	if err := h.run(); err != nil {
		if in.exceeded {
			return nil, tooLarge(MaxCatalogue + 1)
		}
		return nil, err
	}
	return h.finish()
}

// counted fails once more than [MaxCatalogue] octets were read. It fills whatever
// it is given: encoding/json looks through blanks from the start again after each
// read, and reads into a buffer that it doubles, so that its work stays in
// proportion only where reads are full.
type counted struct {
	r        io.Reader
	n        int
	exceeded bool
}

var errTooMuch = errors.New("too much")

func (c *counted) Read(p []byte) (int, error) {
	n, err := io.ReadFull(c.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if c.n += n; c.n > MaxCatalogue {
		c.exceeded = true
		return 0, errTooMuch
	}
	return n, err
}

type harvest struct {
	d       *json.Decoder
	visit   func(Harvested) error
	members map[string]bool            // top-level members read
	digests map[Ref]cityid.Digest      // of the datasets visited
	rest    map[string]json.RawMessage // members but "dataset" and "record"
	records []json.RawMessage
}

func (h *harvest) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ends too early")
	}
	return malformed("catalogue is not JSON, at octet %d: %v", h.d.InputOffset(), err)
}

func (h *harvest) run() error {
	h.rest = map[string]json.RawMessage{}
	if err := h.delim('{'); err != nil {
		return err
	}
	for h.d.More() {
		t, err := h.d.Token()
		if err != nil {
			return h.broken(err)
		}
		name, ok := t.(string)
		if !ok || h.members[name] {
			return malformed("catalogue has the member %q twice", cut(fmt.Sprint(t)))
		}
		h.members[name] = true
		if err := h.member(name); err != nil {
			return err
		}
	}
	if err := h.delim('}'); err != nil {
		return err
	}
	if _, err := h.d.Token(); !errors.Is(err, io.EOF) {
		return malformed("catalogue has something behind its end, at octet %d", h.d.InputOffset())
	}
	return nil
}

func (h *harvest) delim(want json.Delim) error {
	t, err := h.d.Token()
	if err != nil {
		return h.broken(err)
	}
	if t != want {
		return malformed("catalogue: want %s at octet %d", want, h.d.InputOffset())
	}
	return nil
}

func (h *harvest) member(name string) error {
	switch name {
	case "dataset":
		return h.list(name, h.dataset)
	case "record":
		return h.list(name, func(_ int, b json.RawMessage) error {
			if len(b) > 4*maxIRI {
				return cityid.Errorf(cityid.ErrTooLarge, "record of %d octets: at most %d", len(b), 4*maxIRI)
			}
			h.records = append(h.records, b)
			return nil
		})
	}
	if len(h.rest) == 32 {
		return cityid.Errorf(cityid.ErrTooLarge, "catalogue has too many members")
	}
	var b json.RawMessage
	if err := h.d.Decode(&b); err != nil {
		return h.broken(err)
	}
	if len(b) > MaxDocument {
		return cityid.Errorf(cityid.ErrTooLarge, "catalogue: /%s of %d octets: at most %d", pointerToken(name), len(b), MaxDocument)
	}
	h.rest[name] = b
	return nil
}

func (h *harvest) list(name string, each func(i int, b json.RawMessage) error) error {
	if err := h.delim('['); err != nil {
		return err
	}
	i := 0
	for ; h.d.More(); i++ {
		if i == MaxDatasets {
			return cityid.Errorf(cityid.ErrTooLarge, "catalogue has more than %d entries in /%s", MaxDatasets, name)
		}
		var b json.RawMessage
		if err := h.d.Decode(&b); err != nil {
			return h.broken(err)
		}
		if err := each(i, b); err != nil {
			return err
		}
	}
	return h.delim(']')
}

func (h *harvest) dataset(i int, b json.RawMessage) error {
	d, document, err := readEntry(b, false)
	if err == nil {
		if _, twice := h.digests[d.ID]; twice {
			err = malformed("%s stands there twice", d.ID)
		}
	}
	if err != nil {
		return malformed("catalogue: /dataset/%d: %s", i, message(err))
	}
	h.digests[d.ID] = Digest(document)
	return h.visit(Harvested{Dataset: d, Document: document, Digest: h.digests[d.ID]})
}

// finish reads what is small, and compares records with datasets.
func (h *harvest) finish() (*Catalogue, error) {
	head, err := json.Marshal(h.rest)
	if err != nil {
		return nil, malformed("catalogue: %v", err)
	}
	var f catalogueForm
	if _, err := decode("catalogue", head, 2*MaxDocument, &f); err != nil {
		return nil, err
	}
	if f.Context == nil {
		return nil, invalid("/@context", "is missing")
	}
	if f.Publisher == nil {
		return nil, invalid("/publisher", "is missing")
	}
	c := &Catalogue{ID: f.ID, Title: f.Title, Description: f.Description, Publisher: *f.Publisher, Languages: f.Languages, Issued: f.Issued, Modified: f.Modified}
	for i, b := range h.records {
		r, err := h.record(i, b)
		if err != nil {
			return nil, err
		}
		c.Records = append(c.Records, *r)
	}
	if len(c.Records) != len(h.digests) {
		return nil, malformed("catalogue: %d records for %d datasets", len(c.Records), len(h.digests))
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, h.sameRest(head, c)
}

func (h *harvest) record(i int, b json.RawMessage) (*Record, error) {
	var f recordForm
	if _, err := decode("record", b, MaxDocument, &f); err != nil {
		return nil, malformed("catalogue: /record/%d: %s", i, message(err))
	}
	r := &Record{Dataset: f.Topic, Digest: f.Checksum.Value, Listed: f.Issued, Modified: f.Modified,
		Chain: f.ProvenAt.Chain, Height: uint64(f.ProvenAt.Height), Time: f.ProvenAt.Time}
	if d, ok := h.digests[r.Dataset]; !ok || d != r.Digest {
		return nil, malformed("catalogue: /record/%d names %s with digest %s, which the catalogue does not hold", i, r.Dataset, r.Digest)
	}
	return r, nil
}

// sameRest refuses what was given beyond what was understood.
func (h *harvest) sameRest(head []byte, c *Catalogue) error {
	f := c.form()
	records := f.Record
	f.Record = nil
	understood, err := canonical("catalogue", f, MaxCatalogue)
	if err != nil {
		return err
	}
	if err := same("catalogue", head, understood); err != nil {
		return err
	}
	for i, given := range h.records {
		understood, err := canonical("record", records[i], MaxDocument)
		if err != nil {
			return err
		}
		if err := same("record "+strconv.Itoa(i), given, understood); err != nil {
			return err
		}
	}
	return nil
}
