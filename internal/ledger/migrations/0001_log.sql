CREATE TABLE setting (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Names under which entries were logged, one after another.
CREATE TABLE log (
	id    INTEGER PRIMARY KEY,
	party TEXT NOT NULL,
	name  TEXT NOT NULL,
	base  INTEGER NOT NULL, -- entries before it: number = entry - base
	made  INTEGER NOT NULL,
	UNIQUE (party, name)
) STRICT;

CREATE TABLE entry (
	id        INTEGER PRIMARY KEY, -- from 1 without a gap; erased ones are the first
	direction INTEGER NOT NULL,    -- 1 served, 2 fetched
	agreement BLOB NOT NULL,       -- x'': none
	peer      TEXT NOT NULL,       -- '': unknown
	hash      BLOB NOT NULL,       -- of the encoded entry
	leaf      BLOB NOT NULL,
	stored    INTEGER NOT NULL,
	status    INTEGER NOT NULL,
	size      INTEGER NOT NULL,
	awaits    INTEGER NOT NULL,    -- 1: an acknowledgement
	ack       INTEGER NOT NULL     -- acknowledgement, or 0
) STRICT;
CREATE UNIQUE INDEX entry_hash ON entry (hash, direction);
CREATE INDEX entry_agreement ON entry (agreement, stored);
CREATE INDEX entry_peer ON entry (peer, stored);
CREATE INDEX entry_stored ON entry (stored);
CREATE INDEX entry_awaits ON entry (id) WHERE awaits = 1;

-- The bulk of an entry, apart so that the rows above stay small.
CREATE TABLE content (
	entry              INTEGER PRIMARY KEY,
	salt               BLOB NOT NULL,
	encoded            BLOB NOT NULL,
	path               TEXT NOT NULL,
	request            BLOB NOT NULL, -- signature base; x'': it had no signature
	request_signature  BLOB NOT NULL,
	response           BLOB NOT NULL,
	response_signature BLOB NOT NULL
) STRICT;

CREATE TABLE acknowledgement (
	id        INTEGER PRIMARY KEY,
	agreement BLOB NOT NULL,
	direction INTEGER NOT NULL,
	body      BLOB NOT NULL,
	base      BLOB NOT NULL,
	signature BLOB NOT NULL,
	stored    INTEGER NOT NULL,
	last      INTEGER NOT NULL -- latest entry it names
) STRICT;
CREATE INDEX acknowledgement_last ON acknowledgement (last);

CREATE TABLE batch (
	log      INTEGER NOT NULL REFERENCES log (id),
	sequence INTEGER NOT NULL, -- in that log, from 1
	first    INTEGER NOT NULL, -- entries first to last are its leaves
	last     INTEGER NOT NULL,
	previous BLOB NOT NULL,    -- root of the batch before it; zero for the first
	root     BLOB NOT NULL,
	closed   INTEGER NOT NULL,
	anchored INTEGER NOT NULL, -- block time in seconds; 0: not yet
	height   INTEGER NOT NULL,
	tx       BLOB NOT NULL,
	erased   INTEGER NOT NULL, -- 0: not
	PRIMARY KEY (log, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_last ON batch (last);

-- Nonces of requests that were answered, for an hour beyond their end.
CREATE TABLE nonce (
	expires INTEGER NOT NULL, -- seconds
	key     BLOB NOT NULL,
	value   BLOB NOT NULL,
	PRIMARY KEY (expires, key, value)
) STRICT, WITHOUT ROWID;

-- What was fetched under an agreement (x'': none) on a day, UTC.
CREATE TABLE usage (
	agreement BLOB NOT NULL,
	direction INTEGER NOT NULL,
	day       INTEGER NOT NULL, -- since 1970-01-01
	requests  INTEGER NOT NULL,
	octets    INTEGER NOT NULL,
	refused   INTEGER NOT NULL,
	PRIMARY KEY (agreement, direction, day)
) STRICT, WITHOUT ROWID;

-- What the other side has proven of its own log.
CREATE TABLE peer_proof (
	entry INTEGER PRIMARY KEY,
	proof BLOB NOT NULL
) STRICT;
