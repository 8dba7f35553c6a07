-- Roles that were made here; the predefined ones are the program's.
CREATE TABLE roles (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
