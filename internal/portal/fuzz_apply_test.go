// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"encoding/json"
	"testing"

	"cityid"
)

// FuzzApplicationFile reads application files: what is accepted can be written
// and read again, fits a transaction, and names a code and its policy.
func FuzzApplicationFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"chain":"c","apply":{"allocation":{"code":"MA.156.1331","kind":"city","policy":{"threshold":1,"members":[{"code":"MA.156.9001"}]}},"possessions":[]}}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parseApplicationFile(b)
		if err != nil {
			return
		}
		if file.Apply.Allocation.Code.IsZero() || file.Apply.Allocation.Policy.Check() != nil || len(cityid.MustMarshal(&file.Apply)) > cityid.MaxTx {
			t.Fatalf("accepted: %+v", file)
		}
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseApplicationFile(text); err != nil {
			t.Fatalf("%s is not read again: %v", text, err)
		}
	})
}

// FuzzFileName names uploaded files: never a path, and always a text that may be
// shown.
func FuzzFileName(f *testing.F) {
	for _, s := range []string{"a.pdf", "../../x", `C:\x`, "", "/", "\u202e", "授权书.pdf", "=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, given string) {
		name := fileName(given, 1)
		if err := cityid.CheckText("name", name, true); err != nil || len(name) > 120 {
			t.Fatalf("%q becomes %q: %v", given, name, err)
		}
		for _, c := range name {
			if c == '/' || c == '\\' {
				t.Fatalf("%q becomes the path %q", given, name)
			}
		}
	})
}
