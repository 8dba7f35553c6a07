-- One-time codes, and orders that are found by their client's reference alone.

CREATE TABLE one_time_codes (
    hash TEXT NOT NULL PRIMARY KEY,
    credential TEXT NOT NULL,
    expires INTEGER NOT NULL,
    order_id TEXT,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX one_time_code_expires ON one_time_codes (expires);
CREATE INDEX one_time_code_open ON one_time_codes (credential, expires) WHERE order_id IS NULL;

DROP INDEX order_reference;
CREATE UNIQUE INDEX order_reference ON orders (
    reference, mount, credential,
    (CASE WHEN status = 'valid' OR status = 'invalid' OR status = 'cancelled' THEN id ELSE '' END)
) WHERE reference IS NOT NULL;
