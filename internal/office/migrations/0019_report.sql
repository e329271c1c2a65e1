-- What people reported. Content, contact and photograph are encrypted under the
-- office's key, and erased in time; what stays names nobody.
CREATE TABLE report (
	number     INTEGER PRIMARY KEY AUTOINCREMENT,
	id         BLOB NOT NULL UNIQUE CHECK (length(id) = 32), -- hash of what its sender made
	opens      BLOB NOT NULL CHECK (length(opens) = 32),     -- hash of the token
	code       TEXT NOT NULL,
	department TEXT NOT NULL,
	category   INTEGER NOT NULL,
	state      INTEGER NOT NULL,
	content    BLOB NOT NULL,                 -- encrypted; empty: erased
	contact    BLOB NOT NULL,                 -- encrypted; empty: none, or erased
	photo      BLOB REFERENCES file (digest), -- encrypted; NULL: none, or erased
	size       INTEGER NOT NULL,              -- of the photograph's file; 0: none
	receipt    BLOB NOT NULL,                 -- with its signature, without the opening
	received   INTEGER NOT NULL,
	closed     INTEGER NOT NULL               -- 0: open
) STRICT;
CREATE INDEX report_department ON report (department, number);
CREATE INDEX report_open ON report (department) WHERE closed = 0;
CREATE INDEX report_photo ON report (photo);
CREATE INDEX report_size ON report (size) WHERE size > 0;
CREATE INDEX report_closed ON report (closed) WHERE content <> x'';
CREATE INDEX report_contact ON report (received) WHERE contact <> x'';

CREATE TABLE report_step (
	report     INTEGER NOT NULL REFERENCES report (number),
	position   INTEGER NOT NULL, -- from 0
	state      INTEGER NOT NULL,
	department TEXT NOT NULL,    -- passed on to; empty: not passed on
	note       TEXT NOT NULL,
	key        BLOB NOT NULL,    -- of who did it; empty: it was handed in
	time       INTEGER NOT NULL,
	PRIMARY KEY (report, position)
) STRICT, WITHOUT ROWID;
