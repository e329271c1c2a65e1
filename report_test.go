// SPDX-License-Identifier: Apache-2.0

package cityid

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
)

func reportSigner() Signer {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	return Signer{
		Key:  PublicKey("\x01" + string(k.Public().(ed25519.PublicKey))),
		Sign: func(msg []byte) ([]byte, error) { return ed25519.Sign(k, msg), nil },
	}
}

func verifyPlain(pub, msg, sig []byte) error {
	if !ed25519.Verify(pub[1:], msg, sig) {
		return errors.New("wrong signature")
	}
	return nil
}

func sampleReport(t testing.TB) *ReportFile {
	t.Helper()
	o := &ReportOpening{Salt: Digest{1}, Report: Report{Category: ReportBroken, Text: "不亮了\nsince Monday", Photo: Digest{2}}}
	f, err := SignReport(ReportReceipt{
		Institution: MustParse("MA.156.9001"), Number: 17, Code: MustParse("MA.156.1301.02/20.010501/000045"),
		Department: MustParse("MA.156.1301.02"), Digest: o.Digest(), Time: 1_775_000_000,
	}, reportSigner())
	if err != nil {
		t.Fatal(err)
	}
	f.Opening = o
	return f
}

func TestReportCheck(t *testing.T) {
	for name, c := range map[string]struct {
		report Report
		want   ErrorCode
	}{
		"bare":           {Report{Category: ReportBroken}, OK},
		"lines":          {Report{Category: ReportDirty, Text: "a\n\nb"}, OK},
		"longest":        {Report{Category: ReportOther, Text: strings.Repeat("灯", MaxReportText)}, OK},
		"too long":       {Report{Category: ReportOther, Text: strings.Repeat("灯", MaxReportText+1)}, ErrTooLarge},
		"far too long":   {Report{Category: ReportOther, Text: strings.Repeat("a", 1<<20)}, ErrTooLarge},
		"no category":    {Report{Text: "a"}, ErrInvalid},
		"later category": {Report{Category: ReportOther + 1, Text: "a"}, ErrInvalid},
		"other of what":  {Report{Category: ReportOther}, ErrInvalid},
		"not UTF-8":      {Report{Category: ReportOther, Text: "\xff"}, ErrInvalid},
		"not composed":   {Report{Category: ReportOther, Text: "e\u0301"}, ErrInvalid},
		"blank":          {Report{Category: ReportOther, Text: " a"}, ErrInvalid},
		"return":         {Report{Category: ReportOther, Text: "a\rb"}, ErrInvalid},
		"turned round":   {Report{Category: ReportOther, Text: "a\u202eb"}, ErrInvalid},
		"null":           {Report{Category: ReportOther, Text: "a\x00b"}, ErrInvalid},
		"separator":      {Report{Category: ReportOther, Text: "a\u2028b"}, ErrInvalid},
	} {
		if got := CodeOf(c.report.Check()); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestReportFile(t *testing.T) {
	f := sampleReport(t)
	raw := MustMarshal(f)
	back, err := DecodeReportFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Verify(verifyPlain); err != nil || !bytes.Equal(MustMarshal(back), raw) {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
	bare, err := ParseReportSymbol(f.Symbol())
	if err != nil || bare.Opening != nil || bare.Receipt != f.Receipt {
		t.Fatalf("from the symbol: %+v, %v", bare, err)
	}
	if err := bare.Verify(verifyPlain); err != nil {
		t.Error(err)
	}
	for _, c := range f.Symbol() {
		if !strings.ContainsRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", c) {
			t.Fatalf("the symbol's text has %q, which makes the symbol larger", c)
		}
	}
	for i := range raw { // no octet of it can be another one
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(raw)
			changed[i] ^= bit
			if g, err := DecodeReportFile(changed); err == nil && g.Verify(verifyPlain) == nil {
				t.Fatalf("octet %d changed, and still: %+v", i, g)
			}
		}
	}
}

func TestReportFileRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ReportFile)
		want   ErrorCode
	}{
		"later version":  {func(f *ReportFile) { f.Receipt.Version = 2 }, ErrUnsupported},
		"no institution": {func(f *ReportFile) { f.Receipt.Institution = Code{} }, ErrInvalid},
		"no number":      {func(f *ReportFile) { f.Receipt.Number = 0 }, ErrInvalid},
		"large number":   {func(f *ReportFile) { f.Receipt.Number = 1 << 63 }, ErrInvalid},
		"no time":        {func(f *ReportFile) { f.Receipt.Time = 0 }, ErrInvalid},
		"encrypting key": {func(f *ReportFile) { f.Receipt.Key = "\x04" + f.Receipt.Key[1:] }, ErrInvalid},
		"short":          {func(f *ReportFile) { f.Signature = f.Signature[:63] }, ErrSignature},
		"another report": {func(f *ReportFile) { f.Opening.Report.Category = ReportDirty }, ErrInvalid},
		"another salt":   {func(f *ReportFile) { f.Opening.Salt[5]++ }, ErrInvalid},
		"no salt":        {func(f *ReportFile) { f.Opening.Salt = Digest{} }, ErrInvalid},
		"a bad report":   {func(f *ReportFile) { f.Opening.Report.Text = "\u202e" }, ErrInvalid},
	} {
		f := sampleReport(t)
		c.change(f)
		if _, err := DecodeReportFile(MustMarshal(f)); CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	f := sampleReport(t)
	whole := symbolPrefix + symbolEncoding.EncodeToString(MustMarshal(f))
	for name, text := range map[string]string{
		"empty": "", "prefix": symbolPrefix, "other": "https://id.example/", "lower": strings.ToLower(f.Symbol()), "longer": f.Symbol() + "A",
		"padded": f.Symbol() + "=", "line": f.Symbol()[:40] + "\n" + f.Symbol()[40:], "opening": whole, "large": symbolPrefix + strings.Repeat("A", 3*MaxReportFile),
	} {
		if g, err := ParseReportSymbol(text); err == nil {
			t.Errorf("%s: %+v", name, g)
		}
	}
	for _, raw := range [][]byte{nil, {0xa0}, bytes.Repeat([]byte{0}, MaxReportFile+1), append(MustMarshal(f), 0)} {
		if g, err := DecodeReportFile(raw); err == nil {
			t.Errorf("%x: %+v", raw[:min(len(raw), 8)], g)
		}
	}
	if _, err := SignReport(f.Receipt, Signer{Key: reportSigner().Key, Sign: func([]byte) ([]byte, error) { return nil, errors.New("locked") }}); err == nil {
		t.Error("signed without a signature")
	}
	if _, err := SignReport(ReportReceipt{}, reportSigner()); err == nil {
		t.Error("signed an empty receipt")
	}
}

func TestReportChange(t *testing.T) {
	urban := MustParse("MA.156.1301.01")
	for _, c := range []struct {
		change ReportChange
		want   ErrorCode
	}{
		{ReportChange{From: ReportReceived, To: ReportAssigned}, OK},
		{ReportChange{From: ReportReceived, To: ReportAssigned, Department: urban}, OK},
		{ReportChange{From: ReportAssigned, To: ReportAssigned, Note: "tomorrow"}, OK},
		{ReportChange{From: ReportReceived, To: ReportFixed, Note: "done"}, OK},
		{ReportChange{From: ReportAssigned, To: ReportDeclined, Note: "not ours"}, OK},
		{ReportChange{From: ReportAssigned, To: ReportFixed}, ErrInvalid},
		{ReportChange{From: ReportAssigned, To: ReportReceived}, ErrStatus},
		{ReportChange{From: ReportFixed, To: ReportDeclined, Note: "x"}, ErrClosed},
		{ReportChange{From: ReportDeclined, To: ReportAssigned}, ErrClosed},
		{ReportChange{To: ReportAssigned}, ErrStatus},
		{ReportChange{From: ReportReceived, To: ReportFixed, Note: "x", Department: urban}, ErrInvalid},
		{ReportChange{From: ReportReceived, To: ReportFixed, Note: "a\nb"}, ErrInvalid},
	} {
		if got := CodeOf(c.change.Check()); got != c.want {
			t.Errorf("%+v: %v, want %v", c.change, got, c.want)
		}
	}
}

// FuzzReportFile decodes what anybody may hand over as a receipt: what is taken
// is in its one encoding, within bounds, and fits its opening.
func FuzzReportFile(f *testing.F) {
	s := sampleReport(f)
	f.Add(MustMarshal(s))
	s.Opening = nil
	f.Add(MustMarshal(s))
	f.Add([]byte{0xa3})
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, err := DecodeReportFile(raw)
		if err != nil {
			if CodeOf(err) == ErrInternal {
				t.Fatalf("%x: %v has no code", raw, err)
			}
			return
		}
		if !bytes.Equal(MustMarshal(g), raw) || g.Receipt.Check() != nil || g.Opening != nil && g.Opening.Digest() != g.Receipt.Digest {
			t.Fatalf("%x is taken as %+v", raw, g)
		}
		if g.Opening == nil {
			if h, err := ParseReportSymbol(g.Symbol()); err != nil || !bytes.Equal(MustMarshal(h), raw) {
				t.Fatalf("%x comes back from its symbol as %+v, %v", raw, h, err)
			}
		}
	})
}

// FuzzReportSymbol reads the text of any symbol as a receipt.
func FuzzReportSymbol(f *testing.F) {
	f.Add(sampleReport(f).Symbol())
	f.Add("CITYID-RECEIPT:AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseReportSymbol(text)
		if err == nil && g.Symbol() != text {
			t.Fatalf("%q is taken, and written as %q", text, g.Symbol())
		}
	})
}
