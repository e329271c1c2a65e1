// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"cityid"
	"cityid/keys"
)

// MaxTrustFile is the greatest size of a trust file in octets.
const MaxTrustFile = 1 << 20

// TrustFile is what a verifier relies on, by custom the file trust.json: the
// version of the trust root that it pinned, and those it has learned since.
//
// The file is one JSON object, blanks apart exactly as [FormatTrustFile] writes
// it:
//
//	{
//	  "pinned": "<hash of the first version below, 64 hexadecimal digits>",
//	  "versions": [ {"statement": {...}, "signatures": [...]}, ... ]
//	}
//
// The hash is there to be compared with what other people have; it is computed
// anew whenever the file is read. Versions follow one another without a gap,
// and each after the first is signed by the quorum of the one before.
type TrustFile struct {
	versions []cityid.Trust
}

// jsonTrustFile is the form of a trust file.
type jsonTrustFile struct {
	Pinned   cityid.Digest  `json:"pinned"`
	Versions []cityid.Trust `json:"versions"`
}

// NewTrustFile returns a trust file that pins a version. Whether to rely on it
// is the caller's decision, best made by comparing its hash.
func NewTrustFile(pinned cityid.Trust) (*TrustFile, error) {
	if _, err := validatorsOf(&pinned.Statement); err != nil {
		return nil, err
	}
	return &TrustFile{[]cityid.Trust{pinned}}, nil
}

// ParseTrustFile reads a trust file. It refuses unknown, repeated and missing
// fields, a pinned hash that is not the first version's, and versions that do
// not follow one another.
func ParseTrustFile(data []byte) (*TrustFile, error) {
	if len(data) > MaxTrustFile {
		return nil, fmt.Errorf("trust file of %d octets: at most %d", len(data), MaxTrustFile)
	}
	var j jsonTrustFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("trust file: something follows the object")
	}
	if len(j.Versions) == 0 {
		return nil, errors.New("trust file: it holds no version of a trust root")
	}
	if hash := j.Versions[0].Statement.Hash(); hash != j.Pinned {
		return nil, fmt.Errorf("trust file: the version it pins has the hash %s, not %s: compare it with the hash your authority publishes", hash, j.Pinned)
	}
	f, err := NewTrustFile(j.Versions[0])
	if err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	if err := f.Add(j.Versions[1:]...); err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	return f, sameJSON(data, f)
}

// sameJSON reports whether data is, blanks apart, what a trust file is written
// as. So a field can not come twice or under another spelling.
func sameJSON(data []byte, f *TrustFile) error {
	want, err := FormatTrustFile(f)
	if err != nil {
		return err
	}
	var a, b bytes.Buffer
	if err := errors.Join(json.Compact(&a, data), json.Compact(&b, want)); err != nil {
		return fmt.Errorf("trust file: %w", err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		return errors.New("trust file: fields are repeated, out of order or not in their one form")
	}
	return nil
}

// FormatTrustFile returns the file for f, indented, with a final line feed.
func FormatTrustFile(f *TrustFile) ([]byte, error) {
	data, err := json.MarshalIndent(jsonTrustFile{f.Pinned(), f.versions}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("format trust file: %w", err)
	}
	return append(data, '\n'), nil
}

// Pinned returns the hash of the pinned version.
func (f *TrustFile) Pinned() cityid.Digest { return f.versions[0].Statement.Hash() }

// Versions returns a copy of the list of versions, the pinned one first.
func (f *TrustFile) Versions() []cityid.Trust { return slices.Clone(f.versions) }

// Latest returns the latest version, to judge by and to ask with.
func (f *TrustFile) Latest() *cityid.Trust { return &f.versions[len(f.versions)-1] }

// For returns the version to judge a bundle by: the one it leads on from if f
// has that, else the latest. So a bundle kept from before the latest version
// can still be judged, within the time that its version covers.
func (f *TrustFile) For(b *Bundle) *cityid.Trust {
	for i := range f.versions {
		if len(b.Versions) > 0 && b.Versions[0].Statement.Version == f.versions[i].Statement.Version+1 {
			return &f.versions[i]
		}
		if len(b.Versions) == 0 && b.tag(f.versions[i].Statement.Hash()) == b.Trust {
			return &f.versions[i]
		}
	}
	return f.Latest()
}

// Add appends versions that follow the latest, such as [Result.Learned]. If one
// does not, f is unchanged and the error says why.
func (f *TrustFile) Add(next ...cityid.Trust) error {
	list := slices.Clone(f.versions)
	for i := range next {
		if err := list[len(list)-1].VerifySuccessor(&next[i], keys.Verify); err != nil {
			return err
		}
		if _, err := validatorsOf(&next[i].Statement); err != nil {
			return err
		}
		list = append(list, next[i])
	}
	f.versions = list
	return nil
}
