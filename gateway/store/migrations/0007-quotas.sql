-- How many certificates a group with a quota had in a month ("2026-11").
CREATE TABLE group_quotas (
    group_name TEXT NOT NULL,
    month TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (group_name, month)
) STRICT, WITHOUT ROWID;
