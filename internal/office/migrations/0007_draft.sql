CREATE TABLE draft (
	id        BLOB PRIMARY KEY CHECK (length(id) = 32), -- hash of the resume code
	revision  INTEGER NOT NULL,
	content   BLOB NOT NULL, -- encrypted; empty once handed in
	reference TEXT NOT NULL, -- of the application it was handed in as; empty: not yet
	created   INTEGER NOT NULL,
	saved     INTEGER NOT NULL,
	expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX draft_expires ON draft (expires);
CREATE TABLE draft_file (
	draft BLOB NOT NULL REFERENCES draft (id) ON DELETE CASCADE,
	file  BLOB NOT NULL REFERENCES file (digest),
	added INTEGER NOT NULL,
	PRIMARY KEY (draft, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX draft_file_file ON draft_file (file);
