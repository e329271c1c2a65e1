-- What blocks recorded about proposals, so that reviewers see who did what and
-- what a proposal asked for before. It can be read anew from the chain.
CREATE TABLE step (
	proposal   INTEGER NOT NULL,
	height     INTEGER NOT NULL,
	tx         BLOB NOT NULL CHECK (length(tx) = 32),
	position   INTEGER NOT NULL, -- of the operation within its transaction
	ordinal    INTEGER NOT NULL, -- of the transaction within its block
	act        TEXT NOT NULL,
	time       INTEGER NOT NULL, -- seconds, of the block
	signers    BLOB NOT NULL,
	note       TEXT NOT NULL,
	digest     BLOB NOT NULL,
	revision   INTEGER NOT NULL, -- that the act made; 0: none
	operations BLOB NOT NULL,    -- of that revision
	evidence   BLOB NOT NULL,
	PRIMARY KEY (proposal, height, ordinal, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE evidence_copy (
	proposal    INTEGER NOT NULL,
	digest      BLOB NOT NULL,
	destination TEXT NOT NULL,
	PRIMARY KEY (proposal, digest, destination)
) STRICT, WITHOUT ROWID;
