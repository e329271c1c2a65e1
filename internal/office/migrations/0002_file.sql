-- A column of any table that REFERENCES file(digest) keeps the file from being
-- swept; give each such column an index.
CREATE TABLE file (
	digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
	size   INTEGER NOT NULL,
	stored INTEGER NOT NULL -- last time the bytes were put
) STRICT, WITHOUT ROWID;
