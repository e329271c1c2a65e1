-- Labels that were chosen and are not printed yet.
CREATE TABLE label_selection (
	id      TEXT PRIMARY KEY,
	creator BLOB NOT NULL,
	holder  TEXT NOT NULL, -- whose policy governs all the codes
	codes   TEXT NOT NULL, -- one a line
	options TEXT NOT NULL, -- JSON
	emblem  BLOB REFERENCES file (digest),
	reprint INTEGER NOT NULL, -- the run it repeats, or 0
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX label_selection_emblem ON label_selection (emblem);
CREATE INDEX label_selection_expires ON label_selection (expires);

CREATE TABLE print_run (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	holder   TEXT NOT NULL,
	creator  BLOB NOT NULL,
	created  INTEGER NOT NULL,
	options  TEXT NOT NULL, -- JSON
	emblem   BLOB REFERENCES file (digest),
	labels   INTEGER NOT NULL,
	pages    INTEGER NOT NULL,
	level    TEXT NOT NULL,
	module   REAL NOT NULL, -- mm
	distance REAL NOT NULL, -- mm
	side     REAL NOT NULL, -- mm
	sheet    BLOB NOT NULL REFERENCES file (digest),
	size     INTEGER NOT NULL,
	reprint  INTEGER NOT NULL -- the run it repeats, or 0
) STRICT;
CREATE INDEX print_run_holder ON print_run (holder, id);
CREATE INDEX print_run_emblem ON print_run (emblem);
CREATE INDEX print_run_sheet ON print_run (sheet);

CREATE TABLE print_label (
	run      INTEGER NOT NULL REFERENCES print_run (id),
	position INTEGER NOT NULL, -- on the sheet, from 0
	code     TEXT NOT NULL,
	PRIMARY KEY (run, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX print_label_code ON print_label (code, run);
