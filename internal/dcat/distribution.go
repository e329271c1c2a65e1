// SPDX-License-Identifier: Apache-2.0

package dcat

import (
	"regexp"
	"strconv"
	"strings"
)

func (d *Dataset) checkPolicies() error {
	if len(d.Policies) > 1 {
		return invalid("/hasPolicy", "%d policies: a dataset has one at most", len(d.Policies))
	}
	if p := d.Policy(); p != nil {
		return p.check("/hasPolicy/0")
	}
	return nil
}

func (d *Dataset) checkDistributions() error {
	if len(d.Distributions) > maxDistributions {
		return invalid("/distribution", "%d distributions: at most %d", len(d.Distributions), maxDistributions)
	}
	seen := map[string]bool{}
	for i := range d.Distributions {
		x, at := &d.Distributions[i], "/distribution/"+strconv.Itoa(i)
		name, ok := strings.CutPrefix(x.ID, d.ID.String()+"#")
		if x.ID != "" && (!ok || !fragment.MatchString(name) || seen[x.ID]) {
			return invalid(at+"/@id", "want the dataset's IRI, # and a name of its own: lower-case letters, digits and hyphens")
		}
		seen[x.ID] = true
		if err := x.check(at); err != nil {
			return err
		}
	}
	return nil
}

var fragment = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func (x *Distribution) check(path string) error {
	for _, err := range []error{
		checkNames(path+"/title", x.Title),
		checkTexts(path+"/description", x.Description),
		checkWeb(path+"/accessURL", x.AccessURL),
		checkWeb(path+"/downloadURL", x.DownloadURL),
		checkWeb(path+"/format", x.Format),
		checkWeb(path+"/mediaType", x.MediaType),
		checkWeb(path+"/license", x.Licence),
		checkWeb(path+"/rights", x.Rights),
		checkTimes(path, x.Issued, x.Modified),
		x.Checksum.check(path + "/checksum"),
		x.Service.check(path + "/accessService"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) check(path string) error {
	if s == nil {
		return nil
	}
	if s.ID == "" {
		return invalid(path+"/@id", "is missing: want the IRI of the service")
	}
	for _, err := range []error{
		checkWeb(path+"/@id", s.ID),
		checkNames(path+"/title", s.Title),
		checkWeb(path+"/endpointURL", s.Endpoint),
		checkWeb(path+"/endpointDescription", s.EndpointDescription),
		checkStandards(path+"/conformsTo", s.ConformsTo, false),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// An indicator is named by the number of an ISO standard, its year, and the number within it;
// the standards' texts stay where they are.
var indicatorID = regexp.MustCompile(`^371(20|22|23):20[0-9]{2}:[1-9][0-9]?(\.[1-9][0-9]{0,2}){0,2}$`)

// A UCUM code is printable ASCII without blanks.
var ucum = regexp.MustCompile(`^UCUM:[!-~]{1,40}$`)

func (d *Dataset) checkIndicators() error {
	if len(d.Indicators) > maxIndicators {
		return invalid("/variableMeasured", "%d indicators: at most %d", len(d.Indicators), maxIndicators)
	}
	seen := map[string]bool{}
	for i := range d.Indicators {
		x, at := &d.Indicators[i], "/variableMeasured/"+strconv.Itoa(i)
		if !indicatorID.MatchString(x.ID) {
			return invalid(at+"/propertyID", "%.60q: want the identifier of an indicator, such as 37120:2018:10.1", x.ID)
		}
		if seen[x.ID] {
			return invalid(at+"/propertyID", "%q stands there twice", x.ID)
		}
		seen[x.ID] = true
		if err := x.checkUnit(at + "/unitCode"); err != nil {
			return err
		}
		if len(x.Sources) > maxSources {
			return invalid(at+"/wasDerivedFrom", "%d sources: at most %d", len(x.Sources), maxSources)
		}
		for k, s := range x.Sources {
			if s.IsZero() {
				return invalid(at+"/wasDerivedFrom/"+strconv.Itoa(k), "is empty: want the IRI of a code")
			}
		}
	}
	return nil
}

func (x *Indicator) checkUnit(path string) error {
	if x.Unit == "" || ucum.MatchString(x.Unit) {
		return nil
	}
	if strings.HasPrefix(x.Unit, QUDTUnit) && len(x.Unit) > len(QUDTUnit) {
		return checkWeb(path, x.Unit)
	}
	return invalid(path, "%.60q: want UCUM: and a code of UCUM, or an IRI that begins with %s", x.Unit, QUDTUnit)
}
