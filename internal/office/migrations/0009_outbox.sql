CREATE TABLE delivery (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	destination TEXT NOT NULL,
	file        BLOB NOT NULL REFERENCES file (digest),
	headers     TEXT NOT NULL, -- JSON object of texts
	state       INTEGER NOT NULL,
	tries       INTEGER NOT NULL,
	next        INTEGER NOT NULL, -- when it is due; while claimed, when the claim lapses
	error       TEXT NOT NULL,
	created     INTEGER NOT NULL,
	ended       INTEGER NOT NULL
) STRICT;
CREATE INDEX delivery_due ON delivery (state, next);
CREATE INDEX delivery_file ON delivery (file);
CREATE INDEX delivery_ended ON delivery (ended);
