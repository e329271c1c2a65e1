CREATE TABLE officer (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	name     TEXT NOT NULL,
	staff    TEXT NOT NULL,
	key      BLOB NOT NULL,
	member   TEXT NOT NULL,
	starts   INTEGER NOT NULL,
	ends     INTEGER NOT NULL -- 0: open
) STRICT;
CREATE INDEX officer_key ON officer (key, starts);
CREATE INDEX officer_member ON officer (member, starts);
