CREATE TABLE scan_log (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	holder     TEXT NOT NULL,
	creator    BLOB NOT NULL,
	created    INTEGER NOT NULL,
	name       TEXT NOT NULL, -- of the file
	file       BLOB NOT NULL REFERENCES file (digest),
	rows       INTEGER NOT NULL,
	duplicates INTEGER NOT NULL, -- known from this or an earlier log
	foreigners INTEGER NOT NULL, -- codes of other holders
	unknown    TEXT NOT NULL     -- codes that are not allocated, one a line
) STRICT;
CREATE INDEX scan_log_holder ON scan_log (holder, id);
CREATE INDEX scan_log_file ON scan_log (file);

CREATE TABLE scan (
	holder  TEXT NOT NULL,
	code    TEXT NOT NULL,
	seen    INTEGER NOT NULL,
	log     INTEGER NOT NULL REFERENCES scan_log (id),
	located INTEGER NOT NULL,
	lat     INTEGER NOT NULL,
	lon     INTEGER NOT NULL,
	PRIMARY KEY (holder, code, seen)
) STRICT, WITHOUT ROWID;
CREATE INDEX scan_log_of ON scan (log, code);
