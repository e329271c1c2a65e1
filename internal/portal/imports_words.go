// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"fmt"
	"strings"

	"cityid"
	"cityid/internal/bulk"
	"cityid/internal/describe"
)

// problemKeys name the texts for the formats of package bulk's problems.
var problemKeys = map[string]string{
	"%s is in line %d already: a code stands in one row only":                                                                                 "twice",
	"%s lies outside the parent %s: import it below its own parent":                                                                           "outside",
	"a code begins as active or reserved; change it afterwards":                                                                               "status",
	"a code of kind %s ends in %s (# a digit, @ a letter, ? either), not %s":                                                                  "pattern",
	"a code of the form %s can not be of kind %s":                                                                                             "shape",
	"codes of kind %s need a name in the language %s: fill in column name:%s":                                                                 "name",
	"codes of kind %s need a value of scheme %s: fill in column alias:%s":                                                                     "scheme",
	"it has %d cells but the header %d: check the quotes and separators":                                                                      "cells",
	"it holds the same as column %s: keep one":                                                                                                "same",
	"lat and lon go together: add the missing one":                                                                                            "latlon",
	"leading zeros look lost: a code of kind %s ends in %d digits, as %s; format the column as text and enter it again, or give the width %d": "zeros-kind",
	"leading zeros look lost: scheme %s has %d digits here; format the column as text and enter it as %s":                                     "zeros-scheme",
	"line %d has the same value: both codes will answer to it":                                                                                "shared",
	"more than a class: the item belongs in the serial column":                                                                                "item",
	"names, links and crosswalk entries take %d octets together: at most %d":                                                                  "large",
	"objects of class %s are published with a coarse location only: round latitude and longitude to 0.01 degrees, or have all rounded":        "coarse",
	"objects of class %s are sealed, and a sealed record publishes no crosswalk entry: leave it blank":                                        "sealed-alias",
	"objects of class %s are sealed: name a file for their contents (--sealed FILE)":                                                          "sealed",
	"scheme %s wants %s (# a digit, @ a letter, ? either)":                                                                                    "scheme-pattern",
	"scientific notation, in which digits are lost: format the column as text and enter the value again":                                      "scientific",
	"serial without class needs a class as parent, and %s is none: add a class column":                                                        "serial-alone",
	"shorter than others, which have %d digits: leading zeros look lost; enter it as %s in a column formatted as text, give the width %d to have all padded, or have digits taken as they are": "zeros",
	"the cell holds the number %s, shown as %s: format the column as text and enter the value again":                                                                                           "shown",
	"the class is missing": "class",
	"the code is missing":  "code",
	"the distribution rule does not provide for codes of kind %s":                                             "rule",
	"the latitude is missing":                                                                                 "lat",
	"the longitude is missing":                                                                                "lon",
	"the parent %s is a class or below one already: leave the class column out":                               "class-twice",
	"the registry has no crosswalk scheme %s; it has %s":                                                      "no-scheme",
	"the serial is missing; a row for the class itself has kind class":                                        "serial",
	"there is a class column but no serial: add it, and leave its cells blank in rows for classes themselves": "no-serial",
	"there is a code column as well as class or serial: keep either":                                          "both",
	"there is no code column, nor class and serial: the known columns are %s":                                 "no-code",
	"what %s is does not follow from its code: name its kind in a kind column":                                "kind",
	"its parent %s is not allocated: allocate it first, or add a row for it":                                  "no-parent",
	"its class %s is not allocated and needs a name: add a row for it with kind class":                        "no-class",
}

// reasonKeys name the texts for what such a format passes on.
var reasonKeys = map[string]string{
	"want WGS84, CGCS2000 or GCJ-02; convert others, such as BD-09, first":                                   "crs",
	"want decimal degrees such as 38.045474, with a point and without signs for degrees and minutes":         "degrees",
	"want a value between -90 and 90 degrees":                                                                "degrees-90",
	"want a value between -90 and 90 degrees: are latitude and longitude exchanged?":                         "exchanged",
	"want a value between -180 and 180 degrees":                                                              "degrees-180",
	"GCJ-02 is used inside China only, and this point lies elsewhere: are latitude and longitude exchanged?": "exchanged",
}

// problem says what is wrong in the page's language.
func (pg *page) problem(x *bulk.Problem) string {
	if key := problemKeys[x.Format]; key != "" {
		args := make([]any, len(x.Args))
		for i, a := range x.Args {
			if k, is := a.(cityid.Kind); is {
				a = pg.Kind(k)
			}
			args[i] = fmt.Sprint(a)
		}
		return pg.T("imports.problem."+key, args...)
	}
	if key := reasonKeys[x.Reason]; key != "" {
		return pg.T("imports.problem." + key)
	}
	if reason, ok := strings.CutPrefix(x.Reason, "not a code: "); ok {
		return pg.T("imports.problem.not-code", reason)
	}
	if code, message, ok := refusalOf(x.Reason); ok {
		return describe.Refusal(pg.Lang, cityid.Errorf(code, "%s", message))
	}
	return x.Reason
}

// refusalOf takes the registry's reason apart as package bulk puts it: a message
// and, in brackets, the code.
func refusalOf(reason string) (code cityid.ErrorCode, message string, ok bool) {
	at := strings.LastIndex(reason, " (")
	if at < 0 || !strings.HasSuffix(reason, ")") {
		return code, "", false
	}
	err := code.UnmarshalText([]byte(reason[at+2 : len(reason)-1]))
	return code, reason[:at], err == nil
}
