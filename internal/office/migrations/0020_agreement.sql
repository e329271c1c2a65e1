-- Requests for agreements that were made here, and what they said they are for.
CREATE TABLE agreement (
	id       BLOB PRIMARY KEY CHECK (length(id) = 32),
	consumer TEXT NOT NULL,
	dataset  TEXT NOT NULL,
	terms    BLOB NOT NULL,    -- encoded
	box      BLOB NOT NULL,    -- the purpose, encrypted under the office's key; empty: erased
	state    INTEGER NOT NULL,
	created  INTEGER NOT NULL,
	look     INTEGER NOT NULL, -- when to look at the chain again; 0: never
	tries    INTEGER NOT NULL, -- to send the purpose
	problem  TEXT NOT NULL,    -- of the last one
	ends     INTEGER NOT NULL  -- when the agreement ends, as far as is known
) STRICT, WITHOUT ROWID;
CREATE INDEX agreement_look ON agreement (look) WHERE look > 0;
CREATE INDEX agreement_waiting ON agreement (consumer) WHERE state = 1;
CREATE INDEX agreement_ends ON agreement (ends) WHERE box <> x'';
