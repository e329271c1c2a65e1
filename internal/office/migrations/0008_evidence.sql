CREATE TABLE evidence (
	digest   BLOB NOT NULL CHECK (length(digest) = 32), -- as it stands on the chain
	source   TEXT NOT NULL,                             -- who handed it over; empty: the applicant, here
	file     BLOB NOT NULL REFERENCES file (digest),    -- the envelope
	size     INTEGER NOT NULL,
	received INTEGER NOT NULL,
	PRIMARY KEY (digest, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_file ON evidence (file);
CREATE TABLE evidence_proposal (
	proposal INTEGER NOT NULL,
	position INTEGER NOT NULL,
	digest   BLOB NOT NULL,
	PRIMARY KEY (proposal, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX evidence_proposal_digest ON evidence_proposal (digest);
