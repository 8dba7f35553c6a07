-- Every statement of the store by name; policy/store names them and says what their parameters are.
--
-- "-- name: x" begins a statement. "(search)" marks reads that may look at many rows: they run beside the event
-- loop. Columns are always listed; a page goes on after a key; nothing is counted. A guard is one statement that
-- returns or changes exactly one row when it holds.
-- A save repeats what must not change of an entity in its WHERE: an order stays its owner's, an identifier stays the
-- credential's. That also keeps those columns out of SET, and their indexes need no work.
-- Partial indexes are used only where their condition is repeated to the letter.

-- name: order_get
SELECT body FROM orders WHERE id = ?1;

-- name: order_by_reference
-- 900 seconds: REPLAY_SECONDS of policy/store; an order with a key that waits for its client answers for as long as
-- that. An open order comes before one that has ended. One that ended by a
-- fault of ours answers to nothing: who asks again may have better luck.
SELECT body FROM orders
WHERE mount = ?1 AND credential = ?2 AND reference = ?3
    AND (
        status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled' OR updated >= ?4 - 900
        OR body ->> '$.sealed_key' IS NOT NULL
    )
    AND NOT (status = 'invalid' AND coalesce(body ->> '$.problem.kind', '') IN ('unavailable', 'internal'))
ORDER BY CASE WHEN status = 'valid' OR status = 'invalid' OR status = 'cancelled' THEN 1 ELSE 0 END, seq DESC
LIMIT 1;

-- name: order_of_client
SELECT body FROM orders
WHERE reference = ?2 AND mount = ?1
    AND (status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled' OR updated >= ?3)
ORDER BY CASE WHEN status = 'valid' OR status = 'invalid' OR status = 'cancelled' THEN 1 ELSE 0 END, seq DESC
LIMIT 1;

-- name: orders_of_owner
SELECT body FROM orders
WHERE owner = ?1 AND seq > CASE WHEN ?2 = '' THEN 0 ELSE (SELECT seq FROM orders WHERE id = ?2) END
ORDER BY seq LIMIT ?3;

-- name: orders_of_owner_newest
SELECT body FROM orders
WHERE owner = ?1 AND seq < CASE WHEN ?2 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM orders WHERE id = ?2) END
ORDER BY seq DESC LIMIT ?3;

-- name: orders_page (search)
-- Open orders are found by their own small index; the rest is read from the newest one on. The conditions on
-- parameters alone are tested before a branch reads anything.
SELECT body, seq FROM orders
WHERE ?1 NOT IN ('draft', 'pending', 'ready', 'held', 'processing')
    AND (?1 = '' OR status = ?1) AND (?2 = '' OR credential = ?2)
    AND seq < CASE WHEN ?3 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM orders WHERE id = ?3) END
UNION ALL
SELECT body, seq FROM orders INDEXED BY order_open_expires
WHERE ?1 IN ('draft', 'pending', 'ready', 'held', 'processing')
    AND status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled' AND status = ?1 AND (?2 = '' OR credential = ?2)
    AND seq < CASE WHEN ?3 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM orders WHERE id = ?3) END
ORDER BY seq DESC LIMIT ?4;

-- name: orders_expired
-- Not those in processing: only the outcome of signing ends them.
SELECT body FROM orders
WHERE expires <= ?1 AND status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled' AND +status <> 'processing'
ORDER BY expires LIMIT ?2;

-- name: orders_open_of_credential
SELECT body FROM orders INDEXED BY order_open_expires
WHERE credential = ?1 AND status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled'
    AND status <> 'processing'
ORDER BY seq LIMIT ?2;

-- name: orders_open_of_owner
SELECT body FROM orders INDEXED BY order_open_owner
WHERE owner = ?1 AND status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled'
    AND status <> 'processing'
LIMIT ?2;

-- name: orders_of_authorization
-- The text search spares parsing the JSON of all the other pending orders of the owner.
SELECT o.body
FROM authorizations AS a CROSS JOIN orders AS o
WHERE a.id = ?1 AND o.owner = a.owner
    AND o.status = 'pending' AND o.status <> 'valid' AND o.status <> 'invalid' AND o.status <> 'cancelled'
    AND instr(o.body, ?1) > 0
    AND EXISTS (SELECT 1 FROM json_each(o.body, '$.authorizations') AS listed WHERE listed.value = ?1)
LIMIT ?2;

-- name: orders_proven (search)
-- Orders that should have moved on already: nothing waits here but what an interrupted server left.
SELECT body FROM orders INDEXED BY order_open_expires
WHERE status <> 'valid' AND status <> 'invalid' AND status <> 'cancelled' AND status = 'pending' AND expires > ?1
    AND (body ->> '$.authorizations[0]' IS NOT NULL OR body ->> '$.dossier' IS NOT NULL)
    AND coalesce(body ->> '$.dossier.complete', 1) = 1 AND coalesce(reference, '') NOT LIKE 'ticket:%'
    AND NOT EXISTS (
        SELECT 1 FROM json_each(orders.body, '$.authorizations') AS listed
        WHERE NOT EXISTS (
            SELECT 1 FROM authorizations AS a WHERE a.id = listed.value AND a.status = 'valid' AND a.expires > ?1
        )
    )
LIMIT ?2;

-- name: order_insert
INSERT INTO orders (
    id, status, owner, credential, mount, reference, replaces, created, updated, expires, version, body
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12);

-- name: order_save
UPDATE orders SET status = ?2, reference = ?6, replaces = ?7, updated = ?9, expires = ?10, version = ?11, body = ?12
WHERE id = ?1 AND version = ?11 - 1 AND owner = ?3 AND credential = ?4 AND mount = ?5 AND created = ?8;

-- name: reference_free
-- One row when nothing answers to the reference (the same condition as order_by_reference), and nothing spent it.
SELECT 1 WHERE NOT EXISTS (
    SELECT 1 FROM orders
    WHERE mount = ?1 AND credential = ?2 AND reference = ?3
        AND (
            status NOT IN ('valid', 'invalid', 'cancelled') OR updated >= ?4 OR body ->> '$.sealed_key' IS NOT NULL
        )
        AND NOT (status = 'invalid' AND coalesce(body ->> '$.problem.kind', '') IN ('unavailable', 'internal'))
) AND NOT EXISTS (
    SELECT 1 FROM spent WHERE scope = ?1 || ' ' || ?2 AND value = ?3 AND expires > ?4 + 900
);

-- name: not_replaced
SELECT 1 WHERE NOT EXISTS (
    SELECT 1 FROM orders WHERE replaces = ?1 AND replaces IS NOT NULL AND status NOT IN ('invalid', 'cancelled')
);

-- name: certificate_replaced
SELECT EXISTS (
    SELECT 1 FROM orders WHERE replaces = ?1 AND replaces IS NOT NULL AND status NOT IN ('invalid', 'cancelled')
);

-- name: order_replacing
SELECT body FROM orders
WHERE replaces = ?1 AND replaces IS NOT NULL AND status NOT IN ('invalid', 'cancelled')
ORDER BY seq DESC LIMIT 1;

-- name: authorization_get
SELECT body FROM authorizations WHERE id = ?1;

-- name: authorization_many
SELECT a.body FROM json_each(?1) AS wanted CROSS JOIN authorizations AS a
WHERE a.id = wanted.value
ORDER BY wanted.key;

-- name: authorization_reusable
SELECT body FROM authorizations
WHERE owner = ?1 AND type = ?2 AND value = ?3 AND wildcard = ?4 AND status = 'valid' AND expires >= ?5
ORDER BY expires DESC LIMIT 20;

-- name: authorization_covering
SELECT a.body FROM json_each(?2) AS wanted CROSS JOIN authorizations AS a
WHERE a.owner = ?1 AND a.type = 'dns' AND a.value = wanted.value AND a.status = 'valid' AND a.expires >= ?3
ORDER BY wanted.key, a.expires DESC LIMIT 50;

-- name: authorizations_valid
SELECT 1 WHERE NOT EXISTS (
    SELECT 1 FROM json_each(?1) AS wanted
    WHERE NOT EXISTS (
        SELECT 1 FROM authorizations AS a WHERE a.id = wanted.value AND a.status = 'valid' AND a.expires > ?2
    )
);

-- name: certificate_valid
SELECT 1 FROM certificate_status WHERE serial = ?1 AND state = 'valid';

-- name: not_account_key
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE spki_sha256 = ?1);

-- name: account_key_fresh
SELECT 1 WHERE NOT EXISTS (
    SELECT 1 FROM accounts AS a JOIN credentials AS c ON c.id = a.credential
    WHERE a.spki_sha256 = ?1 AND (a.status <> 'valid' OR c.state = 'revoked')
);

-- name: certificates_by_key (search)
SELECT body FROM certificates INDEXED BY certificate_key WHERE json_extract(body, '$.spki_sha256') = ?1;

-- name: key_certified (search)
SELECT EXISTS (
    SELECT 1 FROM certificates INDEXED BY certificate_key WHERE json_extract(body, '$.spki_sha256') = ?1
);

-- name: authorization_insert
INSERT INTO authorizations (id, owner, type, value, wildcard, status, expires, version, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9);

-- name: authorization_save
UPDATE authorizations SET status = ?6, expires = ?7, version = ?8, body = ?9
WHERE id = ?1 AND version = ?8 - 1 AND owner = ?2 AND type = ?3 AND value = ?4 AND wildcard = ?5;

-- name: account_get
SELECT body FROM accounts WHERE id = ?1;

-- name: account_by_key
SELECT body FROM accounts WHERE mount = ?1 AND thumbprint = ?2;

-- name: accounts_of_credential
SELECT body FROM accounts WHERE credential = ?1 AND id > ?2 ORDER BY id LIMIT ?3;

-- name: accounts_page (search)
SELECT body FROM accounts
WHERE id > ?5
    AND (?1 = '' OR mount = ?1)
    AND (?2 = '' OR credential = ?2)
    AND (?3 = '' OR status = ?3)
    AND (?4 = '' OR instr(lower(id || ' ' || thumbprint || ' ' || (body ->> '$.contact')), lower(?4)) > 0)
ORDER BY id LIMIT ?6;

-- name: pauses_of_owner
SELECT body FROM pauses WHERE owner = ?1 ORDER BY type, value;

-- name: pause_put
INSERT INTO pauses (owner, type, value, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (owner, type, value) DO NOTHING;

-- name: pause_remove
DELETE FROM pauses WHERE owner = ?1 AND type = ?2 AND value = ?3;

-- name: account_insert
INSERT INTO accounts (id, mount, credential, status, thumbprint, spki_sha256, version, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: account_save
UPDATE accounts SET credential = ?3, status = ?4, thumbprint = ?5, spki_sha256 = ?6, version = ?7, body = ?8
WHERE id = ?1 AND version = ?7 - 1 AND mount = ?2;

-- name: account_valid
SELECT 1 FROM accounts WHERE id = ?1 AND status = 'valid';

-- name: credential_get
SELECT body FROM credentials WHERE id = ?1;

-- name: credential_by_identifier
SELECT body FROM credentials WHERE type = ?1 AND identifier = ?2;

-- name: credentials_page (search)
-- The state is the one that counts now, as in Credential.at.
SELECT body FROM credentials
WHERE id > ?7
    AND (?1 = '' OR type = ?1)
    AND (?2 = '' OR ?2 = CASE
        WHEN state = 'active' AND expires <= (SELECT certgate_now()) THEN 'expired'
        WHEN state = 'active' AND not_before > (SELECT certgate_now()) THEN 'pending'
        ELSE state
    END)
    AND (?3 = '' OR user_name = ?3)
    AND (?4 = '' OR group_name = ?4)
    AND (?5 = '' OR instr(' ' || products || ' ', ' ' || ?5 || ' ') > 0)
    AND (?6 = '' OR instr(
        lower(id || ' ' || identifier || ' ' || user_name || ' ' || (body ->> '$.label')), lower(?6)
    ) > 0)
ORDER BY id LIMIT ?8;

-- name: credential_counts (search)
-- Credentials are as many as systems, not as certificates: counting them costs what listing them costs.
SELECT type, now_state, user_name, group_name, sum(1) FROM (
    SELECT type, user_name, group_name, CASE
        WHEN state = 'active' AND expires <= (SELECT certgate_now()) THEN 'expired'
        WHEN state = 'active' AND not_before > (SELECT certgate_now()) THEN 'pending'
        ELSE state
    END AS now_state
    FROM credentials
) GROUP BY type, now_state, user_name, group_name ORDER BY type, now_state, user_name, group_name;

-- name: credential_uses
SELECT uses FROM credentials WHERE id = ?1;

-- name: credential_insert
INSERT INTO credentials (
    id, type, identifier, state, user_name, group_name, products, not_before, expires, use_limit, version, body
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12);

-- name: credential_save
UPDATE credentials SET
    state = ?4, user_name = ?5, group_name = ?6, products = ?7, not_before = ?8, expires = ?9, use_limit = ?10,
    version = ?11, body = ?12
WHERE id = ?1 AND version = ?11 - 1 AND type = ?2 AND identifier = ?3;

-- name: credential_active
SELECT 1 FROM credentials
WHERE id = ?1 AND state = 'active'
    AND (not_before IS NULL OR not_before <= ?2) AND (expires IS NULL OR expires > ?2)
    AND EXISTS (SELECT 1 FROM users WHERE name = user_name AND active = 1)
    AND EXISTS (SELECT 1 FROM groups WHERE name = group_name AND active = 1);

-- name: credential_spend
UPDATE credentials SET uses = uses + 1
WHERE id = ?1 AND state = 'active'
    AND (not_before IS NULL OR not_before <= ?2) AND (expires IS NULL OR expires > ?2)
    AND (use_limit IS NULL OR uses < use_limit)
    AND EXISTS (SELECT 1 FROM users WHERE name = user_name AND active = 1)
    AND EXISTS (SELECT 1 FROM groups WHERE name = group_name AND active = 1);

-- name: idempotency_get
SELECT digest, answer FROM idempotency WHERE scope = ?1 AND key = ?2 AND expires > ?3;

-- name: idempotency_claim
-- Taken when nobody has it, when its time is over, or when whoever had it never came back.
INSERT INTO idempotency (scope, key, digest, lease, expires) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (scope, key) DO UPDATE SET
    digest = excluded.digest, lease = excluded.lease, expires = excluded.expires, answer = NULL
WHERE expires <= ?6 OR answer IS NULL AND lease <= ?6 AND digest = excluded.digest;

-- name: idempotency_keep
UPDATE idempotency SET answer = ?3 WHERE scope = ?1 AND key = ?2;

-- name: idempotency_release
DELETE FROM idempotency WHERE scope = ?1 AND key = ?2;

-- name: idempotency_sweep
-- A few with each claim: more than come in.
DELETE FROM idempotency
WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE expires <= ?1 ORDER BY expires LIMIT 10);

-- name: spent_get
SELECT EXISTS (SELECT 1 FROM spent WHERE scope = ?1 AND value = ?2 AND expires > ?3);

-- name: spent_claim
INSERT INTO spent (scope, value, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (scope, value) DO UPDATE SET expires = excluded.expires WHERE spent.expires <= ?4;

-- name: spent_sweep
DELETE FROM spent
WHERE (scope, value) IN (SELECT scope, value FROM spent WHERE expires <= ?1 ORDER BY expires LIMIT 10);

-- name: one_time_code_get
SELECT body FROM one_time_codes WHERE hash = ?1;

-- name: one_time_codes_open
SELECT hash FROM one_time_codes WHERE credential = ?1 AND expires > ?2 AND order_id IS NULL LIMIT ?3;

-- name: one_time_code_insert
INSERT INTO one_time_codes (hash, credential, expires, body) VALUES (?1, ?2, ?3, ?4);

-- name: one_time_code_spend
UPDATE one_time_codes SET order_id = ?2 WHERE hash = ?1 AND order_id IS NULL AND expires > ?3;

-- name: one_time_codes_forget
DELETE FROM one_time_codes WHERE expires < ?1;

-- name: user_get
SELECT body FROM users WHERE name = ?1;

-- name: users_all
SELECT body FROM users ORDER BY name;

-- name: user_insert
INSERT INTO users (name, active, version, body) VALUES (?1, ?2, ?3, ?4);

-- name: user_save
UPDATE users SET active = ?2, version = ?3, body = ?4 WHERE name = ?1 AND version = ?3 - 1;

-- name: group_get
SELECT body FROM groups WHERE name = ?1;

-- name: groups_all
SELECT body FROM groups ORDER BY name;

-- name: group_insert
INSERT INTO groups (name, active, version, body) VALUES (?1, ?2, ?3, ?4);

-- name: group_save
UPDATE groups SET active = ?2, version = ?3, body = ?4 WHERE name = ?1 AND version = ?3 - 1;

-- name: quota_used
SELECT used FROM group_quotas WHERE group_name = ?1 AND month = ?2;

-- name: quota_spend
INSERT INTO group_quotas (group_name, month, used) SELECT ?1, ?2, 1 WHERE ?3 > 0
ON CONFLICT (group_name, month) DO UPDATE SET used = used + 1 WHERE used < ?3
RETURNING used;

-- name: domains_of_group
SELECT body FROM domains WHERE group_name = ?1 ORDER BY name;

-- name: domains_all
SELECT body FROM domains ORDER BY group_name, name;

-- name: domain_put
INSERT INTO domains (group_name, name, body) VALUES (?1, ?2, ?3)
ON CONFLICT (group_name, name) DO UPDATE SET body = excluded.body;

-- name: domain_save
-- Rows of before versions were counted are of version 1.
UPDATE domains SET body = ?4
WHERE group_name = ?1 AND name = ?2 AND coalesce(body ->> '$.version', 1) = ?3 - 1;

-- name: domain_remove
DELETE FROM domains WHERE group_name = ?1 AND name = ?2;

-- name: organisation_get
SELECT body FROM organisations WHERE name = ?1;

-- name: organisations_all
SELECT body FROM organisations ORDER BY name;

-- name: organisation_insert
INSERT INTO organisations (name, version, body) VALUES (?1, ?2, ?3);

-- name: organisation_save
UPDATE organisations SET version = ?2, body = ?3 WHERE name = ?1 AND version = ?2 - 1;

-- name: role_get
SELECT body FROM roles WHERE name = ?1;

-- name: roles_all
SELECT body FROM roles ORDER BY name;

-- name: role_insert
INSERT INTO roles (name, version, body) VALUES (?1, ?2, ?3);

-- name: role_save
UPDATE roles SET version = ?2, body = ?3 WHERE name = ?1 AND version = ?2 - 1;

-- name: product_current
SELECT body FROM products WHERE name = ?1 ORDER BY version DESC LIMIT 1;

-- name: product_get
SELECT body FROM products WHERE name = ?1 AND version = ?2;

-- name: products_current
SELECT body FROM products AS p
WHERE version = (SELECT max(version) FROM products WHERE name = p.name)
ORDER BY name;

-- name: product_insert
INSERT INTO products (name, state, version, body) VALUES (?1, ?2, ?3, ?4);

-- name: product_save
-- The next version is a row of its own; orders keep the one they were placed with.
INSERT INTO products (name, state, version, body)
SELECT ?1, ?2, ?3, ?4
WHERE (SELECT max(version) FROM products WHERE name = ?1) = ?3 - 1;

-- name: product_active
SELECT 1 FROM products
WHERE name = ?1 AND version = (SELECT max(version) FROM products WHERE name = ?1) AND state = 'active';

-- name: mount_get
SELECT body FROM mounts WHERE key = ?1;

-- name: mounts_all
SELECT body FROM mounts ORDER BY key;

-- name: mount_insert
INSERT INTO mounts (key, active, version, body) VALUES (?1, ?2, ?3, ?4);

-- name: mount_save
UPDATE mounts SET active = ?2, version = ?3, body = ?4 WHERE key = ?1 AND version = ?3 - 1;

-- name: mount_active
SELECT 1 FROM mounts WHERE key = ?1 AND active = 1;

-- name: authorities_all
SELECT body FROM authorities ORDER BY seq;

-- name: authority_insert
INSERT INTO authorities (name, version, body) VALUES (?1, ?2, ?3);

-- name: authority_save
UPDATE authorities SET version = ?2, body = ?3 WHERE name = ?1 AND version = ?2 - 1;

-- name: service_keys_all
SELECT body FROM service_keys ORDER BY purpose, issuer;

-- name: service_key_insert
INSERT INTO service_keys (purpose, issuer, version, body) VALUES (?1, ?2, ?3, ?4);

-- name: service_key_save
UPDATE service_keys SET version = ?3, body = ?4 WHERE purpose = ?1 AND issuer = ?2 AND version = ?3 - 1;

-- name: issuances_open
SELECT json_set(body, '$.stage', stage) FROM issuances
WHERE stage <> 'void'
ORDER BY id LIMIT ?1;

-- name: issuances_open_after
SELECT json_set(body, '$.stage', stage) FROM issuances
WHERE stage <> 'void' AND id > ?1
ORDER BY id LIMIT ?2;

-- name: issuance_of_order
SELECT json_set(body, '$.stage', stage) FROM issuances
WHERE order_id = ?1 AND stage <> 'void' AND order_id <> '';

-- name: issuance_insert
INSERT INTO issuances (id, order_id, stage, body) VALUES (?1, ?2, ?3, ?4);

-- name: issuance_signed
DELETE FROM issuances WHERE id = ?1 AND stage <> 'void';

-- name: issuance_stage
UPDATE issuances SET stage = ?2 WHERE id = ?1 AND stage <> 'void';

-- name: certificate_get
SELECT body, der FROM certificates WHERE serial = ?1;

-- name: certificate_of_order
SELECT body, der FROM certificates WHERE order_id = ?1 AND order_id <> '';

-- name: certificates_page (search)
-- Newest first, after the serial of the last one. What a CMP client has not confirmed is not listed.
SELECT c.body, c.der, c.seq FROM certificates AS c
WHERE ?1 = '' AND (?2 = '' OR instr(lower(c.names), lower(?2)) > 0)
    AND c.seq < CASE WHEN ?3 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM certificates WHERE serial = ?3) END
    AND (SELECT s.state FROM certificate_status AS s WHERE s.serial = c.serial) <> 'unconfirmed'
UNION ALL
SELECT c.body, c.der, c.seq FROM certificates AS c
WHERE ?1 <> '' AND c.credential = ?1 AND (?2 = '' OR instr(lower(c.names), lower(?2)) > 0)
    AND c.seq < CASE WHEN ?3 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM certificates WHERE serial = ?3) END
    AND (SELECT s.state FROM certificate_status AS s WHERE s.serial = c.serial) <> 'unconfirmed'
ORDER BY 3 DESC LIMIT ?4;

-- name: certificates_found (search)
-- As certificates_page, by any of these: credential, name text, state, product, group, owner, issuer, key type, tag,
-- a name or a domain ("." in front: with all below it), ends before, ends from, SHA-256 of its key, mount, user.
SELECT c.body, c.der FROM certificates AS c
WHERE c.seq < CASE WHEN ?16 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM certificates WHERE serial = ?16) END
    AND (?1 = '' OR c.credential = ?1)
    AND (?2 = '' OR instr(lower(c.names), lower(?2)) > 0)
    AND (SELECT CASE
        WHEN s.state = 'unconfirmed' THEN 0
        WHEN ?3 = '' THEN 1
        WHEN s.state = 'valid' AND s.not_after <= (SELECT certgate_now()) THEN ?3 = 'expired'
        ELSE s.state = ?3
    END FROM certificate_status AS s WHERE s.serial = c.serial) = 1
    AND (?4 = '' OR c.body ->> '$.product' = ?4)
    AND (?5 = '' OR (SELECT group_name FROM credentials WHERE id = c.credential) IN (SELECT value FROM json_each(?5)))
    AND (?6 = '' OR c.body ->> '$.owner' = ?6)
    AND (?7 = '' OR c.body ->> '$.issuer' = ?7)
    AND (?8 = '' OR c.body ->> '$.key_type' = ?8)
    AND (?9 = '' OR EXISTS (SELECT 1 FROM certificate_tags AS t WHERE t.tag = ?9 AND t.serial = c.serial))
    AND (?10 = '' OR EXISTS (
        SELECT 1 FROM json_each(c.body, '$.names') AS listed
        WHERE listed.value ->> '$.value' = ltrim(?10, '.')
            OR (?10 LIKE '.%' AND substr(listed.value ->> '$.value', -length(?10)) = ?10)
    ))
    AND (?11 = 0 OR c.not_after < ?11)
    AND (?12 = 0 OR c.not_after >= ?12)
    AND (?13 = '' OR c.body ->> '$.spki_sha256' = ?13)
    AND (?14 = '' OR c.body ->> '$.mount' = ?14)
    AND (?15 = '' OR (SELECT user_name FROM credentials WHERE id = c.credential) = ?15)
ORDER BY c.seq DESC LIMIT ?17;

-- name: orders_found (search)
-- Newest first, by any of these: status, credential, groups, product, owner, kind, name text, placed from, placed
-- before, user.
SELECT o.body FROM orders AS o
WHERE o.seq < CASE WHEN ?11 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM orders WHERE id = ?11) END
    AND (?1 = '' OR o.status = ?1)
    AND (?2 = '' OR o.credential = ?2)
    AND (?3 = '' OR (SELECT group_name FROM credentials WHERE id = o.credential) IN (SELECT value FROM json_each(?3)))
    AND (?4 = '' OR o.body ->> '$.product' = ?4)
    AND (?5 = '' OR o.owner = ?5)
    AND (?6 = '' OR o.body ->> '$.kind' = ?6)
    AND (?7 = '' OR instr(o.body ->> '$.identifiers', ?7) > 0)
    AND (?8 = 0 OR o.created >= ?8)
    AND (?9 = 0 OR o.created < ?9)
    AND (?10 = '' OR (SELECT user_name FROM credentials WHERE id = o.credential) = ?10)
ORDER BY o.seq DESC LIMIT ?12;

-- name: product_versions
SELECT body FROM products WHERE name = ?1 ORDER BY version DESC;

-- name: certificates_of_credential (search)
SELECT c.body FROM certificates AS c
WHERE c.credential = ?1
    AND c.seq > CASE WHEN ?2 = '' THEN 0 ELSE (SELECT seq FROM certificates WHERE serial = ?2) END
    AND c.not_after > (SELECT certgate_now())
    AND (SELECT s.state FROM certificate_status AS s WHERE s.serial = c.serial) <> 'revoked'
ORDER BY c.seq LIMIT ?3;

-- name: certificate_insert
INSERT INTO certificates (
    serial, issuer_id, order_id, credential, not_after, names, body, der
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: certificate_status
SELECT issuer_id, serial, state, reason, at, invalidity_date, not_after FROM certificate_status WHERE serial = ?1;

-- name: certificate_statuses
SELECT s.issuer_id, s.serial, s.state, s.reason, s.at, s.invalidity_date, s.not_after
FROM json_each(?1) AS wanted CROSS JOIN certificate_status AS s
WHERE s.serial = wanted.value
ORDER BY wanted.key;

-- name: certificates_revoked (search)
SELECT serial, at, state, reason, not_after, invalidity_date FROM certificate_status
WHERE issuer_id = ?1 AND shard = ?2 AND state IN ('revoked', 'on_hold') AND not_after >= ?3
ORDER BY serial;

-- name: certificate_status_insert
INSERT INTO certificate_status (serial, issuer_id, shard, state, at, not_after) VALUES (?1, ?2, ?3, ?4, ?5, ?6);

-- name: certificate_status_change
UPDATE certificate_status SET state = ?3, reason = ?4, at = ?5, invalidity_date = ?6
WHERE serial = ?1 AND issuer_id = ?2 AND state IN (SELECT value FROM json_each(?7));

-- name: certificate_event_append
INSERT INTO certificate_events (serial, seq, issuer_id, state, reason, at, invalidity_date)
SELECT
    serial, 1 + coalesce((SELECT max(seq) FROM certificate_events WHERE serial = ?1), 0),
    issuer_id, state, reason, at, invalidity_date
FROM certificate_status
WHERE serial = ?1 AND issuer_id = ?2;

-- name: demands_on
SELECT body FROM demands WHERE object = ?1 OR object = ?2;

-- name: demands_all
SELECT body FROM demands ORDER BY object;

-- name: demand_put
INSERT INTO demands (object, body) VALUES (?1, ?2) ON CONFLICT (object) DO UPDATE SET body = excluded.body;

-- name: demand_remove
DELETE FROM demands WHERE object = ?1;

-- name: certificates_unaudited (search)
SELECT c.serial FROM certificates AS c
WHERE NOT EXISTS (
    SELECT 1 FROM audit AS a WHERE a.object = 'certificate:' || c.serial AND a.tag = 'ca:certificate:issued'
)
ORDER BY c.seq LIMIT ?1;

-- name: crl_get
SELECT issuer_id, shard, number, der, this_update, next_update FROM crls WHERE issuer_id = ?1 AND shard = ?2;

-- name: crls_all
SELECT issuer_id, shard, number, der, this_update, next_update FROM crls ORDER BY issuer_id, shard;

-- name: crl_publish
INSERT INTO crls (issuer_id, shard, number, der, this_update, next_update)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (issuer_id, shard) DO UPDATE SET
    number = excluded.number, der = excluded.der,
    this_update = excluded.this_update, next_update = excluded.next_update
WHERE excluded.number > crls.number;

-- name: key_not_blocked
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM blocked_keys WHERE spki_sha256 = ?1);

-- name: key_block
INSERT INTO blocked_keys (spki_sha256, reason, at) VALUES (?1, ?2, ?3) ON CONFLICT (spki_sha256) DO NOTHING;

-- name: not_blocked
-- Usually there is no block at all, which one look at the small index tells.
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE active = 1)
    OR NOT EXISTS (
        SELECT 1 FROM json_each(?1) AS wanted CROSS JOIN blocks AS b INDEXED BY block_subject
        WHERE b.subject = wanted.value AND b.active = 1 AND (b.until IS NULL OR b.until > ?2)
    );

-- name: blocks_any
SELECT EXISTS (SELECT 1 FROM blocks WHERE active = 1);

-- name: blocks_on
SELECT b.body FROM json_each(?1) AS wanted CROSS JOIN blocks AS b INDEXED BY block_subject
WHERE b.subject = wanted.value AND b.active = 1 AND (b.until IS NULL OR b.until > ?2)
ORDER BY b.seq;

-- name: blocks_page (search)
-- Newest first, after the one with this id; "active" are those that are neither lifted nor over.
SELECT body FROM blocks
WHERE seq < CASE WHEN ?3 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM blocks WHERE id = ?3) END
    AND (?1 = '' OR ?1 = CASE
        WHEN active = 0 THEN 'lifted' WHEN until <= (SELECT certgate_now()) THEN 'expired' ELSE 'active'
    END)
    AND (?2 = '' OR instr(subject, ?2) > 0)
ORDER BY seq DESC LIMIT ?4;

-- name: block_get
SELECT body FROM blocks WHERE id = ?1;

-- name: block_insert
INSERT INTO blocks (id, subject, active, until, version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6);

-- name: block_save
UPDATE blocks SET active = ?3, until = ?4, version = ?5, body = ?6
WHERE id = ?1 AND version = ?5 - 1 AND subject = ?2;

-- name: document_get
SELECT content FROM documents WHERE id = ?1 AND order_id = ?2;

-- name: document_insert
INSERT INTO documents (id, order_id, content) VALUES (?1, ?2, ?3);

-- name: tags_of
SELECT serial, tag FROM certificate_tags WHERE serial IN (SELECT value FROM json_each(?1)) ORDER BY serial, tag;

-- name: tag_put
INSERT INTO certificate_tags (tag, serial) VALUES (?1, ?2) ON CONFLICT (tag, serial) DO NOTHING;

-- name: tags_clear
DELETE FROM certificate_tags WHERE serial = ?1;

-- name: bulk_get
SELECT body FROM bulks WHERE id = ?1;

-- name: bulks_page
SELECT body FROM bulks
WHERE seq < CASE WHEN ?1 = '' THEN 9223372036854775807 ELSE (SELECT seq FROM bulks WHERE id = ?1) END
ORDER BY seq DESC LIMIT ?2;

-- name: bulk_insert
INSERT INTO bulks (id, version, body) VALUES (?1, ?2, ?3);

-- name: bulk_save
UPDATE bulks SET version = ?2, body = ?3 WHERE id = ?1 AND version = ?2 - 1;

-- name: audit_append
INSERT INTO audit (at, tag, object, leaf) VALUES (?1, ?2, ?3, ?4);

-- name: audit_page
SELECT seq, leaf FROM audit WHERE seq > CAST(?1 AS INTEGER) ORDER BY seq LIMIT ?2;

-- name: audit_size
SELECT coalesce(max(seq), 0) FROM audit;

-- name: audit_of_object
SELECT seq, leaf FROM audit WHERE object = ?1 AND seq > CAST(?2 AS INTEGER) ORDER BY seq LIMIT ?3;

-- name: checkpoint_insert
INSERT INTO checkpoints (size, body) VALUES (?1, ?2);

-- name: checkpoint_last
SELECT body FROM checkpoints ORDER BY size DESC LIMIT 1;

-- name: checkpoints_page
SELECT body FROM checkpoints WHERE size > CAST(?1 AS INTEGER) ORDER BY size LIMIT ?2;

-- name: job_schedule
-- A worker that has the job may have begun before there was a reason for this one: it is kept for afterwards.
INSERT INTO jobs (kind, object, due, fence, attempts) VALUES (?1, ?2, ?3, 0, 0)
ON CONFLICT (kind, object) DO UPDATE SET
    due = CASE WHEN lease_until IS NULL THEN min(due, excluded.due) ELSE due END,
    again = CASE WHEN lease_until IS NULL THEN again ELSE min(coalesce(again, excluded.due), excluded.due) END;

-- name: job_schedule_if_blocked
INSERT INTO jobs (kind, object, due, fence, attempts)
SELECT ?1, ?2, ?3, 0, 0 FROM blocked_keys WHERE spki_sha256 = ?2
ON CONFLICT (kind, object) DO UPDATE SET
    due = CASE WHEN lease_until IS NULL THEN min(due, excluded.due) ELSE due END,
    again = CASE WHEN lease_until IS NULL THEN again ELSE min(coalesce(again, excluded.due), excluded.due) END;

-- name: job_done
UPDATE jobs SET due = again, again = NULL, lease_until = NULL, attempts = 0
WHERE kind = ?1 AND object = ?2 AND fence = ?3 AND lease_until IS NOT NULL;

-- name: job_remove
DELETE FROM jobs WHERE kind = ?1 AND object = ?2 AND lease_until IS NULL;

-- name: job_forget
DELETE FROM jobs WHERE kind = ?1 AND object = ?2 AND due IS NULL;

-- name: job_again
UPDATE jobs SET due = min(?4, coalesce(again, ?4)), again = NULL, lease_until = NULL
WHERE kind = ?1 AND object = ?2 AND fence = ?3 AND lease_until IS NOT NULL;

-- name: jobs_due
SELECT EXISTS (
    SELECT 1 FROM jobs
    WHERE kind IN (SELECT value FROM json_each(?1)) AND due <= ?2 AND (lease_until IS NULL OR lease_until <= ?2)
);

-- name: fence_raise
-- One number for all jobs and for good, so that a job which was removed and comes back cannot meet an old worker.
UPDATE meta SET value = value + 1 WHERE name = 'fence';

-- name: jobs_lease
-- What was asked for again by now is done with this lease.
UPDATE jobs SET
    lease_until = ?3, fence = (SELECT value FROM meta WHERE name = 'fence'), attempts = attempts + 1,
    again = CASE WHEN again <= ?2 THEN NULL ELSE again END
WHERE (kind, object) IN (
    SELECT kind, object FROM jobs
    WHERE kind IN (SELECT value FROM json_each(?1)) AND due <= ?2 AND (lease_until IS NULL OR lease_until <= ?2)
    ORDER BY due LIMIT ?4
)
RETURNING kind, object, due, fence, attempts;

-- name: epoch_get
SELECT value FROM meta WHERE name = 'epoch';

-- name: epoch_raise
UPDATE meta SET value = ?1 WHERE name = 'epoch';
