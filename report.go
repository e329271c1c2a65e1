// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"encoding/base32"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A report says that something is wrong with a coded thing, or with what its
// record says. Whoever hands one in takes away a receipt that the institution
// has signed; the report itself stays with the institution, and nothing of it
// reaches the chain. A receipt commits to the report by a salted digest, so that
// it tells those nothing who hold the receipt alone.

// Limits on reports.
const (
	ReportVersion = 1    // of receipts
	MaxReportText = 2000 // characters of a report's text
	MaxReportNote = 500  // characters of what a department says about it

	// MaxReportFile bounds a receipt's file, in octets.
	MaxReportFile = 16 << 10

	symbolPrefix = "CITYID-RECEIPT:"
)

// ReportCategory says what is wrong.
type ReportCategory uint8

// The categories; closed and append-only.
const (
	ReportBroken ReportCategory = iota + 1
	ReportDamaged
	ReportDirty
	ReportDangerous
	ReportWrongInformation
	ReportOther
)

var reportCategoryNames = []string{1: "broken", "damaged", "dirty", "dangerous", "wrong-information", "other"}

// ReportCategories lists the categories in order.
func ReportCategories() []ReportCategory {
	var out []ReportCategory
	for c := ReportBroken; c.Valid(); c++ {
		out = append(out, c)
	}
	return out
}

// String returns the category's name.
func (c ReportCategory) String() string { return nameOf(reportCategoryNames, uint8(c), "category") }

// MarshalText returns the category's name.
func (c ReportCategory) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses a category's name.
func (c *ReportCategory) UnmarshalText(text []byte) error {
	return parseName(reportCategoryNames, text, "category", (*uint8)(c))
}

// Valid reports whether c is one of the categories.
func (c ReportCategory) Valid() bool { return c >= 1 && int(c) < len(reportCategoryNames) }

// ReportState is how far a report is:
// received -> assigned -> fixed or declined; assigned may be left out.
type ReportState uint8

// The states; closed and append-only.
const (
	ReportReceived ReportState = iota + 1
	ReportAssigned
	ReportFixed
	ReportDeclined
)

var reportStateNames = []string{1: "received", "assigned", "fixed", "declined"}

// String returns the state's name.
func (s ReportState) String() string { return nameOf(reportStateNames, uint8(s), "report-state") }

// MarshalText returns the state's name.
func (s ReportState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses a state's name.
func (s *ReportState) UnmarshalText(text []byte) error {
	return parseName(reportStateNames, text, "state of a report", (*uint8)(s))
}

// Valid reports whether s is one of the states.
func (s ReportState) Valid() bool { return s >= 1 && int(s) < len(reportStateNames) }

// Open reports whether something is still to be done.
func (s ReportState) Open() bool { return s == ReportReceived || s == ReportAssigned }

// Report is what somebody reported.
type Report struct {
	Category ReportCategory `cbor:"1,keyasint" json:"category"`
	Text     string         `cbor:"2,keyasint,omitempty" json:"text,omitempty"` // several lines; needed for [ReportOther]
	Photo    Digest         `cbor:"3,keyasint,omitzero" json:"photo,omitzero"`  // SHA-256 of the photograph as it is kept; zero: none
}

// Check reports what breaks a rule: an unknown category, a text that is too
// long or could hide something, no text where the category says nothing.
func (r *Report) Check() error {
	switch {
	case !r.Category.Valid():
		return Errorf(ErrInvalid, "category: want one of %s", strings.Join(reportCategoryNames[1:], ", "))
	case r.Text == "" && r.Category == ReportOther:
		return Errorf(ErrInvalid, "the category other needs a text that says what is wrong")
	}
	return checkLines("the text", r.Text, MaxReportText, "\n")
}

// checkLines accepts text for people of so many characters, and with the control
// characters named.
func checkLines(what, text string, most int, controls string) error {
	if n := utf8.RuneCountInString(text); n > most {
		return Errorf(ErrTooLarge, "%s has %d characters: at most %d", what, n, most)
	}
	if !utf8.ValidString(text) || !norm.NFC.IsNormalString(text) || strings.TrimSpace(text) != text {
		return Errorf(ErrInvalid, "%s is not UTF-8 in normal form C without blanks at its ends", what)
	}
	for _, c := range text {
		if !strings.ContainsRune(controls, c) && unicode.In(c, unicode.C, unicode.Zl, unicode.Zp) || c == utf8.RuneError {
			return Errorf(ErrInvalid, "%s contains the control character %U", what, c)
		}
	}
	return nil
}

// ReportDigest is what a receipt names of a report under a fresh salt of 32
// octets: SHA-256("cityid/report/1" || salt || encoding of r).
func ReportDigest(salt Digest, r *Report) Digest {
	b := append([]byte("cityid/report/1"), salt[:]...)
	return hashOf(append(b, MustMarshal(r)...))
}

// ReportOpening shows what a receipt commits to.
type ReportOpening struct {
	Salt   Digest `cbor:"1,keyasint" json:"salt"`
	Report Report `cbor:"2,keyasint" json:"report"`
}

// Digest is what the receipt names.
func (o *ReportOpening) Digest() Digest { return ReportDigest(o.Salt, &o.Report) }

// ReportReceipt says that an institution has received a report and whom it gave
// it to. It names neither the person nor what they wrote.
type ReportReceipt struct {
	Version     uint8     `cbor:"1,keyasint" json:"version"`     // ReportVersion
	Institution Code      `cbor:"2,keyasint" json:"institution"` // whose portal took the report
	Number      uint64    `cbor:"3,keyasint" json:"number"`      // of the report at that institution, from 1, without gaps
	Code        Code      `cbor:"4,keyasint" json:"code"`        // of the thing
	Department  Code      `cbor:"5,keyasint" json:"department"`  // who was responsible then
	Digest      Digest    `cbor:"6,keyasint" json:"digest"`      // [ReportDigest]
	Time        Time      `cbor:"7,keyasint" json:"time"`        // by the institution's clock
	Key         PublicKey `cbor:"8,keyasint" json:"key"`         // that signs, of role intake
}

// SigningDigest is the message that the key signs:
// SHA-256("cityid/report-receipt/1" || encoding).
func (r *ReportReceipt) SigningDigest() Digest {
	return hashOf(append([]byte("cityid/report-receipt/1"), MustMarshal(r)...))
}

// Check bounds the receipt's fields.
func (r *ReportReceipt) Check() error {
	switch {
	case r.Version != ReportVersion:
		return Errorf(ErrUnsupported, "receipt of version %d: this program knows version %d", r.Version, ReportVersion)
	case r.Institution.IsZero() || r.Code.IsZero() || r.Department.IsZero() || r.Digest.IsZero():
		return Errorf(ErrInvalid, "receipt: institution, code, department and digest must be given")
	case r.Number < 1 || r.Number > 1<<62 || r.Time <= 0 || !r.Time.Valid():
		return Errorf(ErrInvalid, "receipt: number %d or time %d is out of range", r.Number, r.Time)
	case !r.Key.Signs():
		return Errorf(ErrInvalid, "receipt: key %s does not sign", r.Key)
	}
	return nil
}

// ReportFile is a receipt with its signature, as the person who reported takes
// it away. The opening is theirs: without it, the file shows that something was
// reported and not what.
type ReportFile struct {
	Receipt   ReportReceipt  `cbor:"1,keyasint" json:"receipt"`
	Signature Bytes          `cbor:"2,keyasint" json:"signature"`
	Opening   *ReportOpening `cbor:"3,keyasint,omitempty" json:"opening,omitempty"`
}

// SignReport signs a receipt. Version and Key are set here.
func SignReport(r ReportReceipt, s Signer) (*ReportFile, error) {
	r.Version, r.Key = ReportVersion, s.Key
	if err := r.Check(); err != nil {
		return nil, err
	}
	d := r.SigningDigest()
	sig, err := s.Sign(d[:])
	if err != nil {
		return nil, err
	}
	return &ReportFile{Receipt: r, Signature: sig}, nil
}

// DecodeReportFile decodes a file strictly and checks what can be checked
// without keys: bounds, and that the opening is what the receipt commits to.
func DecodeReportFile(b []byte) (*ReportFile, error) {
	if len(b) > MaxReportFile {
		return nil, Errorf(ErrTooLarge, "receipt of %d octets: at most %d", len(b), MaxReportFile)
	}
	var f ReportFile
	if err := Unmarshal(b, &f); err != nil {
		return nil, Errorf(ErrMalformed, "receipt: %v", err)
	}
	if err := f.Receipt.Check(); err != nil {
		return nil, err
	}
	if len(f.Signature) < 64 || len(f.Signature) > 4096 {
		return nil, Errorf(ErrSignature, "receipt: a signature of %d octets", len(f.Signature))
	}
	if o := f.Opening; o != nil {
		if o.Salt.IsZero() {
			return nil, Errorf(ErrInvalid, "receipt: the report has no salt")
		}
		if err := o.Report.Check(); err != nil {
			return nil, err
		}
		if o.Digest() != f.Receipt.Digest {
			return nil, Errorf(ErrInvalid, "receipt: the report beside it is not the one it commits to")
		}
	}
	return &f, nil
}

// Verify reports whether the signature is by the key the receipt names, under
// verify, which is the rule of package keys. Whether the key was the
// institution's is for [Stood] to say.
func (f *ReportFile) Verify(verify func(pub, msg, sig []byte) error) error {
	d := f.Receipt.SigningDigest()
	if err := verify([]byte(f.Receipt.Key), d[:], f.Signature); err != nil {
		return Errorf(ErrSignature, "receipt: %v", err)
	}
	return nil
}

var symbolEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Symbol returns the text of a QR symbol that holds the receipt and its
// signature, without the opening: "CITYID-RECEIPT:" and the file in base32
// (RFC 4648) without padding, which a symbol holds in alphanumeric mode.
func (f *ReportFile) Symbol() string {
	bare := *f
	bare.Opening = nil
	return symbolPrefix + symbolEncoding.EncodeToString(MustMarshal(&bare))
}

// IsReportSymbol reports whether a text claims to be that of [ReportFile.Symbol].
func IsReportSymbol(text string) bool { return strings.HasPrefix(text, symbolPrefix) }

// ParseReportSymbol is the inverse of [ReportFile.Symbol], as strict as
// [DecodeReportFile].
func ParseReportSymbol(text string) (*ReportFile, error) {
	rest, ok := strings.CutPrefix(text, symbolPrefix)
	if !ok || len(rest) > 2*MaxReportFile {
		return nil, Errorf(ErrMalformed, "the text is no receipt: want %s and base32", symbolPrefix)
	}
	b, err := symbolEncoding.DecodeString(rest)
	if err != nil || symbolEncoding.EncodeToString(b) != rest {
		return nil, Errorf(ErrMalformed, "receipt: what follows %s is not base32 in its one form", symbolPrefix)
	}
	f, err := DecodeReportFile(b)
	if err == nil && f.Opening != nil {
		err = Errorf(ErrInvalid, "receipt: a symbol does not hold the report")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// ReportStep is one step of what an institution did about a report. All of it is
// public to whoever holds the receipt's link.
type ReportStep struct {
	Time       Time        `json:"time"`
	State      ReportState `json:"state"`
	Department Code        `json:"department,omitzero"` // to whom the report was passed on with this step
	Note       string      `json:"note,omitempty"`
}

// ReportStatus is what an institution tells whoever holds a report's link.
type ReportStatus struct {
	Number      uint64         `json:"number"`
	Institution Code           `json:"institution"`
	Code        Code           `json:"code"`
	Department  Code           `json:"department"`           // as the receipt names it, or to whom it was passed on
	Responsible Code           `json:"responsible,omitzero"` // who is responsible now, for that department may be no more
	Category    ReportCategory `json:"category"`
	State       ReportState    `json:"state"`
	Received    Time           `json:"received"`
	Closed      Time           `json:"closed,omitempty"`
	Steps       []ReportStep   `json:"steps"`
	Text        string         `json:"text,omitempty"`  // until it is erased
	Photo       bool           `json:"photo,omitempty"` // there is one, until it is erased
	Erased      bool           `json:"erased,omitempty"`
}

// ReportEntry is what the department's desk tells.
type ReportEntry struct {
	ReportStatus
	Contact string `json:"contact,omitempty"` // of who reported, until it is erased
}

// ReportPage is part of a list of reports, latest first.
type ReportPage struct {
	Reports []ReportEntry `json:"reports"`
	Next    uint64        `json:"next,omitempty"` // ask again before this number; 0: complete
}

// ReportQuery asks for reports that a code, or one below it, is responsible for.
type ReportQuery struct {
	At       Code
	Open     bool           // only those still to be done
	State    ReportState    // only in this state; 0: any
	Category ReportCategory // only of this category; 0: any
	Before   uint64         // only with a smaller number; 0: from the latest
	Limit    int            // 1 to 200
}

// ReportRequest is what is sent to hand a report in.
type ReportRequest struct {
	ID       string         `json:"id"` // 32 hexadecimal digits, made by the sender: sending again stores nothing new
	Code     Code           `json:"code"`
	Category ReportCategory `json:"category"`
	Text     string         `json:"text,omitempty"`
	Contact  string         `json:"contact,omitempty"` // e-mail address or telephone number
	Photo    Bytes          `json:"photo,omitempty"`   // JPEG or PNG
}

// ReportSent is the answer to a [ReportRequest].
type ReportSent struct {
	Number     uint64     `json:"number"`
	Token      string     `json:"token"` // with the number, opens the report's page; whoever has it sees what was reported
	Page       string     `json:"page"`  // that page
	Department Code       `json:"department"`
	Way        []DutyStep `json:"way,omitempty"` // how the department was found
	Receipt    Bytes      `json:"receipt"`       // an encoded [ReportFile], with its opening
}

// ReportChange is what a department does about a report.
type ReportChange struct {
	From       ReportState `json:"from"` // as it was seen: another one by now is a conflict
	To         ReportState `json:"to"`
	Department Code        `json:"department,omitzero"` // with assigned: pass the report on to this code
	Note       string      `json:"note,omitempty"`      // public; needed for fixed and declined
}

// Check reports whether the change is one that reports may go through.
func (c *ReportChange) Check() error {
	to := map[ReportState][]ReportState{
		ReportReceived: {ReportAssigned, ReportFixed, ReportDeclined},
		ReportAssigned: {ReportAssigned, ReportFixed, ReportDeclined},
	}[c.From]
	switch {
	case c.From.Valid() && !c.From.Open():
		return Errorf(ErrClosed, "the report is %s: hand in another one if something is still wrong", c.From)
	case !slices.Contains(to, c.To):
		return Errorf(ErrStatus, "a report that is %s can not become %s", c.From, c.To)
	case !c.To.Open() && c.Note == "":
		return Errorf(ErrInvalid, "say in a public note what was done, or why nothing will be")
	case !c.Department.IsZero() && c.To != ReportAssigned:
		return Errorf(ErrInvalid, "a report is passed on by assigning it")
	}
	return checkLines("the note", c.Note, MaxReportNote, "")
}
