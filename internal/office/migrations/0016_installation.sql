-- Statements about installations whose digest is anchored on the chain.
CREATE TABLE installation_statement (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	holder  TEXT NOT NULL,
	file    BLOB NOT NULL UNIQUE REFERENCES file (digest),
	size    INTEGER NOT NULL,
	entries INTEGER NOT NULL,
	creator BLOB NOT NULL,
	created INTEGER NOT NULL,
	tx      BLOB,            -- that anchored it; NULL: not yet
	height  INTEGER NOT NULL -- of its block, or 0
) STRICT;
CREATE INDEX installation_statement_holder ON installation_statement (holder, id);

CREATE TABLE installation (
	seq       INTEGER PRIMARY KEY AUTOINCREMENT,
	id        TEXT NOT NULL UNIQUE, -- made by whoever noted it: sending it again stores nothing
	digest    BLOB NOT NULL,        -- of what was sent
	code      TEXT NOT NULL,
	holder    TEXT NOT NULL,
	event     INTEGER NOT NULL,
	noted     INTEGER NOT NULL, -- by the clock of whoever noted it
	received  INTEGER NOT NULL,
	creator   BLOB NOT NULL,
	located   INTEGER NOT NULL, -- 1: lat and lon are known
	lat       INTEGER NOT NULL,
	lon       INTEGER NOT NULL,
	accuracy  INTEGER NOT NULL, -- m; 0: not said
	note      TEXT NOT NULL,
	photo     BLOB REFERENCES file (digest),
	statement INTEGER REFERENCES installation_statement (id)
) STRICT;
CREATE INDEX installation_holder ON installation (holder, seq);
CREATE INDEX installation_code ON installation (code, seq);
CREATE INDEX installation_photo ON installation (photo);
CREATE INDEX installation_statement_of ON installation (statement);
