CREATE TABLE import (
	id       TEXT PRIMARY KEY,
	parent   TEXT NOT NULL,                          -- code below which it allocates
	creator  BLOB NOT NULL,
	title    TEXT NOT NULL,                          -- name of the file
	file     BLOB NOT NULL REFERENCES file (digest), -- the table, encrypted under the office's key
	size     INTEGER NOT NULL,                       -- of the table
	phase    INTEGER NOT NULL,
	revision INTEGER NOT NULL,
	state    BLOB NOT NULL,                          -- encrypted under the office's key
	created  INTEGER NOT NULL,
	saved    INTEGER NOT NULL,
	expires  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX import_parent ON import (parent, created);
CREATE INDEX import_file ON import (file);
CREATE INDEX import_expires ON import (expires);
