CREATE TABLE signing (
	id         TEXT PRIMARY KEY,
	chain      TEXT NOT NULL,
	operations BLOB NOT NULL,
	title      TEXT NOT NULL,
	note       TEXT NOT NULL,
	next       TEXT NOT NULL,
	creator    BLOB NOT NULL,
	signers    BLOB NOT NULL, -- chosen keys, encoded; an empty list: any
	body       BLOB NOT NULL, -- empty: not fixed yet
	state      INTEGER NOT NULL,
	receipt    BLOB NOT NULL,
	created    INTEGER NOT NULL,
	expires    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX signing_creator ON signing (creator, created);
CREATE INDEX signing_state ON signing (state, expires);
CREATE TABLE signing_signature (
	signing   TEXT NOT NULL REFERENCES signing (id) ON DELETE CASCADE,
	key       BLOB NOT NULL,
	signature BLOB NOT NULL,
	PRIMARY KEY (signing, key)
) STRICT, WITHOUT ROWID;
