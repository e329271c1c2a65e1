// SPDX-License-Identifier: Apache-2.0

package share

// What tests outside of the package look at.
var (
	Allow = allow
)

// Items reads a page of a feed and returns what is in it.
func Items(body []byte) (items []string, next string, more bool, err error) {
	p, err := parsePage(body)
	if err != nil {
		return nil, "", false, err
	}
	for _, i := range p.Items {
		items = append(items, string(i))
	}
	return items, p.Next, p.More, nil
}
