-- Changes of officers whose policy change is not recorded yet.
CREATE TABLE officer_change (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	leaves  INTEGER NOT NULL, -- officer who leaves; 0: none, the key is added
	name    TEXT NOT NULL,
	staff   TEXT NOT NULL,
	key     BLOB NOT NULL,    -- of who comes
	member  TEXT NOT NULL,
	starts  INTEGER NOT NULL,
	expires INTEGER NOT NULL  -- given up then
) STRICT;
