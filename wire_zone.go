// SPDX-License-Identifier: Apache-2.0

package cityid

// ZonePage says how a zone stands to those around it: the zone above, its own
// latest header, and part of the list of zones below, in order of code.
type ZonePage struct {
	Apex       Code         `json:"apex"`
	Chain      string       `json:"chain"`
	Upstream   *Upstream    `json:"upstream,omitempty"`   // the zone above; nil: there is none
	Checkpoint *Checkpoint  `json:"checkpoint,omitempty"` // the latest signed header, as the zone above may accept it
	Zones      []ZoneAnswer `json:"zones"`
	Next       Code         `json:"next,omitzero"` // ask again after this code; zero: complete
	AsOf       AsOf         `json:"as_of"`
}

// ZoneAnswer is a zone below, as the zone above knows it.
type ZoneAnswer struct {
	Code       Code        `json:"code"`   // its apex
	Status     Status      `json:"status"` // of the apex
	Delegation *Delegation `json:"delegation,omitempty"`
	Zone       Zone        `json:"zone"`
}

// ZoneQuery asks for zones below.
type ZoneQuery struct {
	After Code // begin after this code
	Limit int  // 1 to 1000
}
