CREATE TABLE session (
	id      BLOB PRIMARY KEY CHECK (length(id) = 32), -- hash of the token
	key     BLOB NOT NULL,                            -- empty: a visitor
	bag     BLOB NOT NULL,                            -- encrypted under a key derived from the token
	created INTEGER NOT NULL,
	seen    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_key ON session (key);
