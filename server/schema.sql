-- The store's first schema. What is here is never edited once it has shipped: a change is a step in store.c's table.
--
-- Numbers of states, specs and uses are those of the wire (proto/bailiwick/v1). Times are microseconds since 1970, UTC.
-- Triggers hold what must never change, whatever the code above does wrong.

CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    region   TEXT    NOT NULL,
    schema   INTEGER NOT NULL,
    made_us  INTEGER NOT NULL
) STRICT;

CREATE TABLE tenant (
    name         TEXT    PRIMARY KEY,
    region       TEXT    NOT NULL,
    state        INTEGER NOT NULL CHECK (state BETWEEN 1 AND 2),
    activation   INTEGER NOT NULL CHECK (activation BETWEEN 1 AND 2),
    token_serial TEXT    NOT NULL,
    policy       TEXT    NOT NULL,
    log          INTEGER NOT NULL UNIQUE CHECK (log > 0),
    created_us   INTEGER NOT NULL,
    generation   INTEGER NOT NULL,             -- changes of this row
    contents     INTEGER NOT NULL              -- changes of this row, and of the tenant's keys and objects
) STRICT, WITHOUT ROWID;

CREATE TABLE key (
    id          BLOB    PRIMARY KEY CHECK (length(id) = 16),
    tenant      TEXT    NOT NULL REFERENCES tenant (name),
    label       TEXT    NOT NULL,
    cka_id      BLOB    NOT NULL,
    spec        INTEGER NOT NULL,
    uses        INTEGER NOT NULL,
    state       INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),
    origin      INTEGER NOT NULL CHECK (origin BETWEEN 1 AND 2),
    owner       TEXT    NOT NULL,
    description TEXT    NOT NULL,
    policy      TEXT    NOT NULL,
    created_us  INTEGER NOT NULL,
    deletion_us INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    rotation_days INTEGER NOT NULL,            -- 0: not for its age
    minimum_version INTEGER NOT NULL           -- older ones are of no use
) STRICT, WITHOUT ROWID;

CREATE TABLE key_version (
    key        BLOB    NOT NULL REFERENCES key (id),
    number     INTEGER NOT NULL CHECK (number > 0),
    state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),
    created_us INTEGER NOT NULL,
    public_key BLOB    NOT NULL,
    reserved   INTEGER NOT NULL DEFAULT 0,     -- uses set aside: budget.h
    last_used_us INTEGER NOT NULL DEFAULT 0,   -- as of the last housekeeping
    made_by    BLOB    NOT NULL DEFAULT x'',   -- id of the request that rotated the key; empty: none
    PRIMARY KEY (key, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_alias (
    tenant TEXT NOT NULL,
    alias  TEXT NOT NULL,
    key    BLOB NOT NULL REFERENCES key (id),
    PRIMARY KEY (tenant, alias)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_alias_of ON key_alias (key);

CREATE TABLE key_tag (
    key   BLOB NOT NULL REFERENCES key (id),
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (key, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_grant (
    id          BLOB    PRIMARY KEY CHECK (length(id) = 16),
    key         BLOB    NOT NULL REFERENCES key (id),
    place       INTEGER NOT NULL,              -- among the key's grants: behind what it was made from
    parent      BLOB    NOT NULL,              -- zero: a custodian's
    granter     TEXT    NOT NULL,
    terms       TEXT    NOT NULL,
    delegations INTEGER NOT NULL,
    created_us  INTEGER NOT NULL,
    expires_us  INTEGER NOT NULL,
    UNIQUE (key, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE revoked (
    principal  TEXT    PRIMARY KEY,
    revoked_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE object (
    tenant      TEXT    NOT NULL REFERENCES tenant (name),
    id          BLOB    NOT NULL CHECK (length(id) = 16),
    class       INTEGER NOT NULL,
    label       TEXT    NOT NULL,
    cka_id      BLOB    NOT NULL,
    value       BLOB    NOT NULL,
    application TEXT    NOT NULL,
    object_id   BLOB    NOT NULL,
    owner       TEXT    NOT NULL,
    created_us  INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    tenant  TEXT    NOT NULL,
    id      BLOB    NOT NULL,
    digest  BLOB    NOT NULL,
    reply   BLOB    NOT NULL,
    kept_us INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_age ON request (kept_us);

-- What custodians propose to each other: proposal.h. A proposal goes when it is carried out, rejected or over.
CREATE TABLE proposal (
    tenant     TEXT    NOT NULL REFERENCES tenant (name),
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    method     INTEGER NOT NULL,               -- its number in methods.def
    request    BLOB    NOT NULL,               -- its message, without request id
    key        BLOB    NOT NULL CHECK (length(key) IN (0, 16)),
    generation INTEGER NOT NULL,               -- of the key or tenant that it is about, as it was
    proposer   TEXT    NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE approval (
    tenant      TEXT    NOT NULL,
    proposal    BLOB    NOT NULL,
    custodian   TEXT    NOT NULL,
    approved_us INTEGER NOT NULL,
    PRIMARY KEY (tenant, proposal, custodian),
    FOREIGN KEY (tenant, proposal) REFERENCES proposal (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- A store belongs to one region.
CREATE TRIGGER meta_region_stays BEFORE UPDATE OF only_row, region, made_us ON meta
BEGIN SELECT RAISE(ABORT, 'a store never changes its region'); END;
CREATE TRIGGER meta_stays BEFORE DELETE ON meta
BEGIN SELECT RAISE(ABORT, 'a store never loses its region'); END;
CREATE TRIGGER meta_goes_forward BEFORE UPDATE OF schema ON meta WHEN NEW.schema <= OLD.schema
BEGIN SELECT RAISE(ABORT, 'a schema only goes forward'); END;

-- A tenant is pinned to its region at birth.
CREATE TRIGGER tenant_is_of_this_region BEFORE INSERT ON tenant WHEN NEW.region IS NOT (SELECT region FROM meta)
BEGIN SELECT RAISE(ABORT, 'a tenant of another region'); END;
CREATE TRIGGER tenant_stays_what_it_is BEFORE UPDATE OF name, region, activation, token_serial, log, created_us ON tenant
BEGIN SELECT RAISE(ABORT, 'a tenant never changes name, region, token or log'); END;
CREATE TRIGGER tenant_stays BEFORE DELETE ON tenant
BEGIN SELECT RAISE(ABORT, 'a tenant is never forgotten'); END;
CREATE TRIGGER tenant_counts BEFORE UPDATE OF generation, contents ON tenant
    WHEN NEW.generation NOT IN (OLD.generation, OLD.generation + 1) OR NEW.contents <> OLD.contents + 1
BEGIN SELECT RAISE(ABORT, 'a tenant counts its changes'); END;

-- A key's id is never given again, not even after it was destroyed.
CREATE TRIGGER key_stays_what_it_is BEFORE UPDATE OF id, tenant, spec, origin, owner, created_us ON key
BEGIN SELECT RAISE(ABORT, 'a key never changes id, tenant, owner or kind'); END;
CREATE TRIGGER key_stays BEFORE DELETE ON key
BEGIN SELECT RAISE(ABORT, 'a key is never forgotten'); END;
CREATE TRIGGER key_counts BEFORE UPDATE ON key WHEN NEW.generation <> OLD.generation + 1
BEGIN SELECT RAISE(ABORT, 'a key counts its changes'); END;
CREATE TRIGGER key_uses_narrow BEFORE UPDATE OF uses ON key WHEN NEW.uses & ~OLD.uses <> 0
BEGIN SELECT RAISE(ABORT, 'a key never gains a use'); END;
CREATE TRIGGER key_destroyed_for_good BEFORE UPDATE ON key WHEN OLD.state = 5
BEGIN SELECT RAISE(ABORT, 'a destroyed key stays destroyed'); END;

CREATE TRIGGER version_stays_what_it_is BEFORE UPDATE OF key, number, created_us, public_key, made_by ON key_version
BEGIN SELECT RAISE(ABORT, 'a key version never changes'); END;
CREATE TRIGGER version_stays BEFORE DELETE ON key_version
BEGIN SELECT RAISE(ABORT, 'a key version is never forgotten'); END;
CREATE TRIGGER version_goes_forward BEFORE INSERT ON key_version
    WHEN NEW.number <= (SELECT ifnull(max(number), 0) FROM key_version WHERE key = NEW.key)
     AND NOT EXISTS (SELECT 1 FROM key_version WHERE key = NEW.key AND number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'key versions only go up'); END;
CREATE TRIGGER version_destroyed_for_good BEFORE UPDATE OF state ON key_version WHEN OLD.state = 3 AND NEW.state <> 3
BEGIN SELECT RAISE(ABORT, 'a destroyed version stays destroyed'); END;
CREATE TRIGGER version_uses_count BEFORE UPDATE OF reserved ON key_version WHEN NEW.reserved < OLD.reserved
BEGIN SELECT RAISE(ABORT, 'uses are never given back'); END;

CREATE TRIGGER alias_is_of_the_keys_tenant BEFORE INSERT ON key_alias
    WHEN NEW.tenant IS NOT (SELECT tenant FROM key WHERE id = NEW.key)
BEGIN SELECT RAISE(ABORT, 'an alias of another tenant'); END;
CREATE TRIGGER alias_stays_where_it_is BEFORE UPDATE ON key_alias
BEGIN SELECT RAISE(ABORT, 'an alias is taken away and given, never moved'); END;

CREATE TRIGGER grant_stays_what_it_is BEFORE UPDATE ON key_grant
BEGIN SELECT RAISE(ABORT, 'a grant is given and taken away, never changed'); END;

CREATE TRIGGER object_stays_where_it_is BEFORE UPDATE OF tenant, id, class, owner, created_us ON object
BEGIN SELECT RAISE(ABORT, 'an object never changes tenant or owner'); END;

CREATE TRIGGER revoked_for_good BEFORE UPDATE ON revoked
BEGIN SELECT RAISE(ABORT, 'who is revoked stays revoked'); END;
CREATE TRIGGER revoked_stays BEFORE DELETE ON revoked
BEGIN SELECT RAISE(ABORT, 'who is revoked stays revoked'); END;

-- What was approved is what was proposed, and nobody approves who was revoked.
CREATE TRIGGER proposal_stays_what_it_is BEFORE UPDATE ON proposal
BEGIN SELECT RAISE(ABORT, 'a proposal never changes'); END;
CREATE TRIGGER approval_stays_what_it_is BEFORE UPDATE ON approval
BEGIN SELECT RAISE(ABORT, 'an approval never changes'); END;
CREATE TRIGGER approval_is_of_somebody BEFORE INSERT ON approval WHEN EXISTS (SELECT 1 FROM revoked WHERE principal = NEW.custodian)
BEGIN SELECT RAISE(ABORT, 'who is revoked approves nothing'); END;
