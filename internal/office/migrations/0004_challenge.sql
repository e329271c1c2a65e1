CREATE TABLE challenge (
	id      BLOB PRIMARY KEY CHECK (length(id) = 32), -- hash of the challenge
	session BLOB NOT NULL REFERENCES session (id) ON DELETE CASCADE,
	purpose TEXT NOT NULL,
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX challenge_session ON challenge (session, expires);
CREATE INDEX challenge_expires ON challenge (expires);
