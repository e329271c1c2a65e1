// SPDX-License-Identifier: Apache-2.0

// Package dcat reads, writes and judges the documents of shared data: the
// description of a dataset, its usage policy, the JSON Schema of its answers,
// and catalogues of descriptions.
//
// # Documents
//
// A dataset document is JSON-LD in the application profile DCAT-AP 3.0.1. Its
// context is fixed ([DatasetContext]) and stands in the document as it is;
// nothing is ever fetched to read one. As published, a document is in the
// canonical form of RFC 8785, at most 256 KiB, and the chain holds the SHA-256 of
// exactly these bytes. Who writes one may leave out "@context", every "@type" and
// "@included", and lay it out as they like: [ParseDataset] reads that, and
// [Dataset.Encode] makes the published bytes.
//
// The document is an object with these members. IRIs of coded things are the
// https address of a resolver and the code, so "@id" and "identifier" name the
// same code; texts are objects from language tag to text; times are RFC 3339 in
// UTC with whole seconds.
//
//	@id, identifier      the dataset's code
//	title, description   texts
//	keyword              from language tag to list of words
//	publisher            @id, identifier, name
//	contactPoint         fn, hasEmail, hasTelephone, hasURL: an office, not a person
//	theme                list of @id, prefLabel: of the European table of data themes,
//	                     or urn:cityid:scheme:SCHEME:VALUE, a term of a crosswalk scheme
//	accessRights         PUBLIC (open), RESTRICTED (conditional) or NON_PUBLIC (closed) of the European table
//	issued, modified     times
//	accrualPeriodicity   IRI, language list of IRIs: of the European tables
//	spatial              @id, identifier of a place; bbox and centroid in WKT, longitude first
//	temporal             startDate, endDate
//	conformsTo           list of @id, title; the JSON Schema of the answers has a checksum too
//	version, landingPage
//	hasPolicy            list of one usage policy
//	distribution         list of @id, title, description, accessURL, downloadURL, format, mediaType, license,
//	                     rights, issued, modified, byteSize, checksum, and
//	                     accessService: @id, title, endpointURL, endpointDescription, conformsTo
//	variableMeasured     list of indicators: propertyID such as "37120:2018:8.1", unitCode such as
//	                     "UCUM:ug/m3" or an IRI of QUDT, wasDerivedFrom: IRIs of the codes it comes from
//
// Names of the members hasPolicy, distribution, accessService, format and
// endpointURL and their shape are those of the Dataspace Protocol's catalogue.
// Where the profile wants to know what an IRI stands for ("this is a language"),
// "@included" says it; it follows from the rest of the document, as does the
// checksum of the policy that it holds.
//
// # Usage policies
//
// A policy is an ODRL offer in a closed profile, urn:cityid:odrl:1. It has one
// permission, to use, under constraints in this order, each at most once:
//
//	dateTime gteq   from when on
//	dateTime lt     until when
//	purpose isAnyOf     list of @id and prefLabel
//	recipient isPartOf  list of @id: these parties, and what lies below them
//	count lteq      requests a day: unit urn:cityid:unit:requests-per-day
//	count lteq      octets a day: unit urn:cityid:unit:octets-per-day
//
// then duties: attribute, naming the attributedParty; delete, by a dateTime lteq;
// and perhaps one prohibition, distribute. Everything else is refused. The asset
// is the dataset whose hasPolicy holds the policy, so none is named, and one
// policy may stand in several datasets. Times, recipients and counts are
// enforced by the provider's gateway; purposes, passing on, attribution and
// deletion are declared: see [Policy.Terms]. A policy is published by itself as
// well, with [PolicyContext]; the chain holds the SHA-256 of these bytes.
//
// # Judging
//
// [Check] lists what is missing or doubtful. Required are what the shapes of
// DCAT-AP make mandatory (title and description; a distribution's accessURL; a
// service's title and endpointURL; names of agents and concepts; algorithm and
// value of a checksum) and, of every dataset: identifier, publisher, contact,
// theme with its name, access right, licence or policy, issued, modified,
// frequency, place, period, conformsTo, language, keywords in Chinese and
// English, and, unless it is closed, a distribution with format, media type and
// service. A conditional dataset has a policy; that of an open one restricts
// neither recipients nor purposes.
//
// [Rate] gives points as the metadata quality assessment of data.europa.eu does,
// along its five dimensions but with weights of its own, which sum to 100:
//
//	findability       25: keywords in Chinese 5, in English 5, known theme 5, place with extent 5, period 5
//	accessibility     20: addresses with HTTPS 5, services 6, their descriptions 5, page 4
//	interoperability  25: known formats 5, media types 4, machine-readable 5, schema 6, data model 5
//	reusability       20: licence or policy 8, access right 4, contact 4, publisher 4
//	contextuality     10: both languages 3, issued 1, modified 2, frequency 2, units and sources or sizes and checksums 2
//
// Both look at the document alone and fetch nothing.
//
// # Schemas
//
// A schema is JSON Schema of draft 2020-12 that refers to nothing outside
// itself: see [CompileSchema]. What a body costs to check is bounded before it is
// checked: see [Schema.ValidateInstance].
//
// # Catalogues
//
// A [Catalogue] holds dataset documents without their context, which is the
// catalogue's, and for each a record: the digest of the published document, and
// the chain, height and time of the header that proved that the chain held it. So
// whoever harvests with [ReadCatalogue] has the published bytes again, and knows
// what to check. A catalogue has at most 10,000 datasets and 64 MiB.
//
// Everything here is a function of its arguments. Errors are [cityid.Error]
// values: malformed for what can not be read, too-large for what is beyond a
// bound, invalid for what breaks a rule; they name the place as a JSON pointer.
package dcat
