-- Documents of orders, blocks, tags of certificates, and changes of many certificates.

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
