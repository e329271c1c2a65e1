CREATE TABLE subscription (
	id        INTEGER PRIMARY KEY,
	agreement BLOB NOT NULL, -- x'': none
	path      TEXT NOT NULL,
	cursor    TEXT NOT NULL,
	next      INTEGER NOT NULL, -- number of the next event
	changed   INTEGER NOT NULL,
	UNIQUE (agreement, path)
) STRICT;

CREATE TABLE event (
	subscription INTEGER NOT NULL REFERENCES subscription (id),
	number       INTEGER NOT NULL, -- from 1 without a gap; pruned ones are the first
	stored       INTEGER NOT NULL,
	entry        INTEGER NOT NULL, -- that brought it
	body         BLOB NOT NULL,
	PRIMARY KEY (subscription, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
	id        INTEGER PRIMARY KEY,
	feed      TEXT NOT NULL,
	indicator TEXT NOT NULL,
	source    TEXT NOT NULL, -- code; '': none
	unit      TEXT NOT NULL,
	UNIQUE (feed, indicator, source, unit)
) STRICT;

CREATE TABLE observation (
	series INTEGER NOT NULL REFERENCES series (id),
	time   INTEGER NOT NULL, -- seconds
	value  TEXT NOT NULL,    -- decimal, as it came
	number REAL NOT NULL,    -- near it, for drawing
	entry  INTEGER NOT NULL, -- that brought it
	PRIMARY KEY (series, time)
) STRICT, WITHOUT ROWID;
CREATE INDEX observation_entry ON observation (entry);
