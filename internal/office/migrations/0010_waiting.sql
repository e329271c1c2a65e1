CREATE TABLE waiting (
	number    INTEGER PRIMARY KEY AUTOINCREMENT,
	reference TEXT NOT NULL UNIQUE,
	code      TEXT NOT NULL,
	apply     BLOB NOT NULL,
	contact   BLOB NOT NULL, -- encrypted under the office's key; empty: none
	state     INTEGER NOT NULL,
	proposal  INTEGER NOT NULL,
	reason    TEXT NOT NULL,
	prepared  BLOB NOT NULL, -- the transaction that is about to bring it; empty: none
	received  INTEGER NOT NULL,
	decided   INTEGER NOT NULL
) STRICT;
CREATE INDEX waiting_state ON waiting (state, number);
CREATE INDEX waiting_code ON waiting (code);
