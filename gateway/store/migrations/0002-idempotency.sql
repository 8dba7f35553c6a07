-- Answers to requests that carry an idempotency key, sealed: without one, the request is being served, until `lease`.
CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    lease INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    answer BLOB,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_expires ON idempotency (expires);
