CREATE TABLE sealed (
	code   TEXT NOT NULL,
	digest BLOB NOT NULL CHECK (length(digest) = 32), -- as it stands on the chain
	box    BLOB NOT NULL,                             -- encrypted under the office's key
	stored INTEGER NOT NULL,
	PRIMARY KEY (code, digest)
) STRICT, WITHOUT ROWID;
