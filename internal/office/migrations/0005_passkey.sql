CREATE TABLE passkey (
	credential BLOB PRIMARY KEY,
	key        BLOB NOT NULL UNIQUE,
	person     BLOB NOT NULL, -- user handle, the same for all passkeys of one person
	name       TEXT NOT NULL,
	rp         TEXT NOT NULL,
	created    INTEGER NOT NULL,
	used       INTEGER NOT NULL -- 0: never
) STRICT, WITHOUT ROWID;
CREATE INDEX passkey_person ON passkey (person);
