-- The schema of a new store. An existing one gets here by migrations/*.sql; a test holds both together.
--
-- Every entity is one row: the columns by which statements search or guard, then version and body, the whole value
-- as JSON. Moments are seconds since 1970 (UTC). Rows that grow without end have an INTEGER PRIMARY KEY, so that new
-- rows go to the end of the table whatever their identifiers look like; "newest first" is that key, descending.
-- Unique indexes have names of their own because a violated one is told to the caller by name.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- epoch: raised by every commit that makes caches stale. fence: the newest fence of a job's lease.
INSERT INTO meta (name, value) VALUES ('epoch', 0), ('fence', 0);

CREATE TABLE migrations (
    number INTEGER NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied INTEGER NOT NULL
) STRICT;

-- ------------------------------------------------------------------ orders and authorizations

CREATE TABLE orders (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    credential TEXT NOT NULL,
    mount TEXT NOT NULL,
    reference TEXT,
    replaces TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX order_id ON orders (id);

-- A client's reference names one open order; those that have ended lie beside it under their own id. One index
-- serves both, the uniqueness and the search for an ended order that a client asks for again.
-- The reference comes first, for the clients that ask for their order without saying whose it is (SCEP CertPoll).
CREATE UNIQUE INDEX order_reference ON orders (
    reference, mount, credential,
    (CASE WHEN status = 'valid' OR status = 'invalid' OR status = 'cancelled' THEN id ELSE '' END)
) WHERE reference IS NOT NULL;

CREATE INDEX order_replaces ON orders (replaces) WHERE replaces IS NOT NULL;

CREATE INDEX order_owner ON orders (owner);

-- Open orders are few beside those that ended: what only concerns them has small indexes of its own. The condition
-- is no NOT IN, for which SQLite builds a table of the three values at every write of every index.
CREATE INDEX order_open_owner ON orders (owner, status) WHERE status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled';
CREATE INDEX order_open_expires ON orders (expires) WHERE status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled';

CREATE TABLE authorizations (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    value TEXT NOT NULL,
    wildcard INTEGER NOT NULL,
    status TEXT NOT NULL,
    expires INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX authorization_id ON authorizations (id);
CREATE INDEX authorization_valid ON authorizations (owner, value, type, wildcard, expires) WHERE status = 'valid';

-- ------------------------------------------------------------------ who may

CREATE TABLE credentials (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    identifier TEXT NOT NULL,
    state TEXT NOT NULL,
    user_name TEXT NOT NULL,
    group_name TEXT NOT NULL,
    products TEXT NOT NULL,
    not_before INTEGER,
    expires INTEGER,
    use_limit INTEGER,
    uses INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX credential_id ON credentials (id);
-- For good: an identifier that was revoked never names another credential.
CREATE UNIQUE INDEX credential_identifier ON credentials (type, identifier);

CREATE TABLE accounts (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    mount TEXT NOT NULL,
    credential TEXT NOT NULL REFERENCES credentials (id),
    status TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    spki_sha256 TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX account_id ON accounts (id);
CREATE UNIQUE INDEX account_thumbprint ON accounts (mount, thumbprint);
CREATE INDEX account_spki ON accounts (spki_sha256);
CREATE INDEX account_credential ON accounts (credential, id);

-- Names that an account may not order for now, because their validation went on failing.
CREATE TABLE pauses (
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    value TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (owner, type, value)
) STRICT, WITHOUT ROWID;

-- Codes that let one certificate be enrolled each. They stay for a while after their end, so that the client whose
-- answer was lost is still known by its code.
CREATE TABLE one_time_codes (
    hash TEXT NOT NULL PRIMARY KEY,
    credential TEXT NOT NULL,
    expires INTEGER NOT NULL,
    order_id TEXT,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX one_time_code_expires ON one_time_codes (expires);
CREATE INDEX one_time_code_open ON one_time_codes (credential, expires) WHERE order_id IS NULL;

CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    active INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE groups (
    name TEXT NOT NULL PRIMARY KEY,
    active INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE organisations (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- Roles that were made here; the predefined ones are the program's.
CREATE TABLE roles (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- How many certificates a group with a quota had in a month ("2026-11").
CREATE TABLE group_quotas (
    group_name TEXT NOT NULL,
    month TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (group_name, month)
) STRICT, WITHOUT ROWID;

-- Domains whose control a group has proven once for all its orders.
CREATE TABLE domains (
    group_name TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (group_name, name)
) STRICT, WITHOUT ROWID;

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

-- Values that count once: identifiers of assertions and proofs, and of access tokens that were ended.
CREATE TABLE spent (
    scope TEXT NOT NULL,
    value TEXT NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (scope, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_expires ON spent (expires);

-- ------------------------------------------------------------------ what may be had, and where

-- A version of a product never changes; the newest one is what counts for new orders.
CREATE TABLE products (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE mounts (
    key TEXT NOT NULL PRIMARY KEY,
    active INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE authorities (
    seq INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX authority_name ON authorities (name);

CREATE TABLE service_keys (
    purpose TEXT NOT NULL,
    issuer TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (purpose, issuer)
) STRICT;

-- ------------------------------------------------------------------ issuance and certificates

-- Intents to sign that are not finished, and those that are void. A signed one leaves: its certificate says
-- everything that it said, and a table that stays small costs no pages in a commit.
CREATE TABLE issuances (
    id TEXT NOT NULL PRIMARY KEY,
    order_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- What the service issues for itself has no order.
CREATE UNIQUE INDEX issuance_order ON issuances (order_id) WHERE stage <> 'void' AND order_id <> '';

CREATE TABLE certificates (
    seq INTEGER NOT NULL PRIMARY KEY,
    serial TEXT NOT NULL,
    issuer_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    credential TEXT NOT NULL,
    not_after INTEGER NOT NULL,
    names TEXT NOT NULL,
    body TEXT NOT NULL,
    der BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX certificate_serial ON certificates (serial);
CREATE UNIQUE INDEX certificate_order ON certificates (order_id) WHERE order_id <> '';
CREATE INDEX certificate_credential ON certificates (credential);
-- Keys in the order of issuance: new ones go to its end, and a search for one reads this and not the certificates.
CREATE INDEX certificate_key ON certificates (seq, json_extract(body, '$.spki_sha256'));

-- The current state of each certificate, narrow so that certificates themselves are only ever inserted.
CREATE TABLE certificate_status (
    serial TEXT NOT NULL PRIMARY KEY,
    issuer_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    invalidity_date INTEGER,
    not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX certificate_revoked ON certificate_status (issuer_id, shard) WHERE state IN ('revoked', 'on_hold');

-- Every change of a state. The first state is the certificate's row itself.
CREATE TABLE certificate_events (
    serial TEXT NOT NULL REFERENCES certificate_status (serial),
    seq INTEGER NOT NULL,
    issuer_id TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    invalidity_date INTEGER,
    PRIMARY KEY (serial, seq)
) STRICT, WITHOUT ROWID;

-- What has to be renewed before its time (RFC 9773): a certificate, or all of a product that were there by then.
CREATE TABLE demands (
    object TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE crls (
    issuer_id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    der BLOB NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    PRIMARY KEY (issuer_id, shard)
) STRICT;

CREATE TABLE blocked_keys (
    spki_sha256 TEXT NOT NULL PRIMARY KEY,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was handed in with orders, as it came. What became of it is said in the order.
CREATE TABLE documents (
    id TEXT NOT NULL PRIMARY KEY,
    order_id TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What must not be issued (again): names, domains and keys, each as one text ("domain:example.org").
CREATE TABLE blocks (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    active INTEGER NOT NULL,
    until INTEGER,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX block_id ON blocks (id);
CREATE INDEX block_subject ON blocks (subject) WHERE active = 1;

-- Words that people give to certificates, to find them by.
CREATE TABLE certificate_tags (
    tag TEXT NOT NULL,
    serial TEXT NOT NULL,
    PRIMARY KEY (tag, serial)
) STRICT, WITHOUT ROWID;

CREATE INDEX tag_serial ON certificate_tags (serial);

-- One change of many certificates, and how far it has come.
CREATE TABLE bulks (
    seq INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX bulk_id ON bulks (id);

-- ------------------------------------------------------------------ audit and background work

-- The sequence has no gaps, because a unit that is undone gives its numbers back before anybody saw them.
CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    tag TEXT NOT NULL,
    object TEXT NOT NULL,
    leaf BLOB NOT NULL
) STRICT;

CREATE INDEX audit_object ON audit (object);

CREATE TABLE checkpoints (
    size INTEGER NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- again: what was asked for while a worker had the job; due is NULL for the moment between done and forgotten.
CREATE TABLE jobs (
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    due INTEGER,
    again INTEGER,
    lease_until INTEGER,
    fence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (kind, object)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_due ON jobs (kind, due);
