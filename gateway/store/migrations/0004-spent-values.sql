-- Values that count once: identifiers of assertions and proofs, and of access tokens that were ended.
CREATE TABLE spent (
    scope TEXT NOT NULL,
    value TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (scope, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_expires ON spent (expires);
